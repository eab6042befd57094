import { describeCrashes, describeShards, describeSleeper, describeThroughput } from "./crash-trials.ts";
import { startRedis } from "./redis-broker.ts";

describeCrashes("Redis", startRedis);
describeShards("Redis", startRedis);
describeSleeper("Redis", startRedis);
describeThroughput("Redis", startRedis);
