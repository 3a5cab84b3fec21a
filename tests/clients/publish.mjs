// Runs the file that docs/publishing.rst shows, with the installed package.
import { register } from "node:module";

register("./hooks.mjs", import.meta.url, { data: { redis: import.meta.resolve("redis") } });
await import("../../docs/examples/publish.mjs");
