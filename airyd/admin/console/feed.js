// The figures of the node, asked for every two seconds while the console is open, and kept for five minutes.
import { get } from "./api.js";

export const SPAN = 300;
export const EVERY = 2;
/** Of how many samples the latency is. */
const LATENCY_SAMPLES = 5;

/** Has an event "sample" for each answer, also if there is none: then lostSince is set. */
export const feed = Object.assign(new EventTarget(), { samples: [], reply: null, lostSince: null });

/** Return the value below which a share of the observations lies that were made between two histograms. */
export function quantile(before, after, share) {
  const counts = after.map(([bound, count], index) => [bound, count - (before[index]?.[1] ?? 0)]);
  const wanted = share * (counts.at(-1)?.[1] ?? 0);
  if (!(wanted > 0)) return null;
  let [lower, below] = [0, 0];
  for (const [bound, count] of counts) {
    if (count >= wanted) return bound >= 1e9 ? lower : lower + ((bound - lower) * (wanted - below)) / (count - below);
    [lower, below] = [bound, count];
  }
  return null;
}

function add(reply) {
  const now = Date.now() / 1000;
  const last = feed.samples.at(-1)?.reply;
  const rate = (name) => {
    const count = reply && last ? reply[name] - last[name] : -1;
    return count < 0 ? null : count / Math.max(reply.time - last.time, 0.1);
  };
  const before = feed.samples.findLast((each, index) => each.reply && index <= feed.samples.length - LATENCY_SAMPLES)?.reply;
  feed.samples.push({
    time: now,
    reply,
    connections: reply?.connections ?? null,
    events: rate("events"),
    deliveries: rate("deliveries"),
    lag: reply?.lag_seconds ?? null,
    latency: reply && before ? quantile(before.delivery, reply.delivery, 0.99) : null,
    roundTrip: reply && before ? quantile(before.round_trip, reply.round_trip, 0.99) : null,
  });
  while (feed.samples[0].time < now - SPAN) feed.samples.shift();
}

/** Ask until the signal. */
export async function watch(signal) {
  while (!signal.aborted) {
    try {
      feed.reply = await get("overview", {}, signal);
      feed.lostSince = null;
      add(feed.reply);
    } catch {
      if (signal.aborted) return;
      feed.lostSince ??= Date.now() / 1000;
      add(null);
    }
    feed.dispatchEvent(new Event("sample"));
    await new Promise((resolve) => setTimeout(resolve, EVERY * 1000));
  }
}
