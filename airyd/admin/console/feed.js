// The figures of the node, asked for every two seconds and kept for five minutes.
import { get, pause } from "./api.js";

export const SPAN = 300;
const [EVERY, LATENCY_SAMPLES] = [2, 5]; // the latency is that of so many samples

/** Has an event "sample" after each answer; without one, lostSince is set. */
export const feed = Object.assign(new EventTarget(), { samples: [], reply: null, lostSince: null });

/** Return a quantile of the observations between two histograms. */
function quantile(before, after, share) {
  const counts = after.map(([bound, count], index) => [bound, count - before[index][1]]);
  const wanted = share * counts.at(-1)[1];
  if (!(wanted > 0)) return null;
  const index = counts.findIndex(([, count]) => count >= wanted);
  const [[lower, below], [upper, count]] = [counts[index - 1] ?? [0, 0], counts[index]];
  return upper >= 1e9 ? lower : lower + ((upper - lower) * (wanted - below)) / (count - below);
}

function add(reply) {
  const now = Date.now() / 1000;
  const last = feed.samples.at(-1)?.reply;
  const rate = (name) => {
    const count = reply && last ? reply[name] - last[name] : -1; // less after a restart
    return count < 0 ? null : count / Math.max(reply.time - last.time, 0.1);
  };
  const before = feed.samples.at(-LATENCY_SAMPLES)?.reply;
  const slowest = (name) => (reply && before ? quantile(before[name], reply[name], 0.99) : null);
  feed.samples.push({
    time: now, reply, connections: reply?.connections, events: rate("events"), deliveries: rate("deliveries"),
    lag: reply?.lag_seconds, latency: slowest("delivery"), roundTrip: slowest("round_trip"),
  });
  while (feed.samples[0].time < now - SPAN) feed.samples.shift();
}

export async function watch(signal) {
  while (!signal.aborted) {
    const reply = await get("overview", {}, signal).catch(() => null);
    if (signal.aborted) return;
    feed.lostSince = reply ? null : (feed.lostSince ?? Date.now() / 1000);
    feed.reply = reply ?? feed.reply;
    add(reply);
    feed.dispatchEvent(new Event("sample"));
    await pause(EVERY);
  }
}
