// Publishes each line of standard input, a JSON object, and prints its id: node publish.mjs DESTINATION
import { createInterface } from "node:readline";
import { createClient } from "redis";

/** Adds an event to the stream of its destination; returns its id. */
export function publish(redis, destination, event) {
  return redis.xAdd(`airyd:${destination}`, "*", { payload: JSON.stringify(event) }, {
    TRIM: { strategy: "MAXLEN", strategyModifier: "~", threshold: 10_000 },
  });
}

const { REDIS_URL: url = "redis://127.0.0.1:6379/0", REDIS_USER: username, REDIS_PASSWORD: password } = process.env;
const redis = createClient({ url, username, password });
redis.on("error", (error) => console.error(error.message));
await redis.connect();
for await (const line of createInterface({ input: process.stdin })) {
  console.log(await publish(redis, process.argv[2], JSON.parse(line)));
}
await redis.close();
