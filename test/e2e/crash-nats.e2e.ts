import { describeCrashes, describeShards, describeSleeper } from "./crash-trials.ts";
import { startNats } from "./nats-broker.ts";
import { describeThroughput } from "./throughput.ts";

describeCrashes("NATS JetStream", startNats);
describeShards("NATS JetStream", startNats);
describeSleeper("NATS JetStream", startNats);
describeThroughput("NATS JetStream", startNats);
