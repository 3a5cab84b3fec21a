// Runs the very file that docs/publishing.rst shows, with the package that is installed here.
import { register } from "node:module";

register("./hooks.mjs", import.meta.url, { data: { redis: import.meta.resolve("redis") } });
await import("../../docs/examples/publish.mjs");
