import { describeCrashes, describeShards, describeSleeper } from "./crash-trials.ts";
import { startRedis } from "./redis-broker.ts";
import { describeThroughput } from "./throughput.ts";

describeCrashes("Redis", startRedis);
describeShards("Redis", startRedis);
describeSleeper("Redis", startRedis);
describeThroughput("Redis", startRedis);
