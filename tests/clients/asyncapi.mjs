// Reads an AsyncAPI document from a file; reports its faults, and the addresses of its channels.
import { readFileSync } from "node:fs";
import asyncapi from "@asyncapi/parser";
import { config, obey, say } from "./harness.mjs";

const { document, diagnostics } = await new asyncapi.Parser().parse(readFileSync(config.file, "utf8"));
const faults = diagnostics.filter(({ severity }) => severity < 2).map(({ message, path }) => [path.join("/"), message]);
say("parsed", { faults, addresses: document?.channels().all().map((channel) => channel.address()) ?? null });

obey({});
