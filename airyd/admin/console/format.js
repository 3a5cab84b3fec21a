// Numbers, sizes and times as text. Times are in the reader's zone; their titles have UTC.
import { h } from "./dom.js";

const NONE = "–";
const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
export const number = (value) => (value == null ? NONE : (Math.abs(value) < 100 ? short : whole).format(value));
export const percent = (value) => (value == null ? NONE : `${whole.format(value * 100)} %`);

export function bytes(value) {
  if (value == null) return NONE;
  const step = value < 1024 ? 0 : Math.floor(Math.log2(value) / 10);
  return `${number(value / 1024 ** step)} ${["B", "KiB", "MiB", "GiB", "TiB"][step]}`;
}

/** Seconds, in the two largest units that matter. */
export function duration(seconds) {
  if (seconds == null) return NONE;
  if (seconds < 1 && seconds) return `${short.format(seconds * 1000)} ms`;
  if (seconds < 60) return `${short.format(seconds)} s`;
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)];
  if (hours < 1) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
export const ago = (seconds) => (seconds == null ? NONE : `${duration(seconds)} ago`);

/** A point in time (seconds since 1970), with the date unless it is today. */
export function time(seconds, hasMilliseconds = false) {
  if (seconds == null) return NONE;
  const date = new Date(seconds * 1000);
  const iso = date.toISOString();
  const text = `${clock.format(date)}${hasMilliseconds ? iso.slice(19, 23) : ""}`;
  const title = iso.replace("T", " ").replace("Z", " UTC");
  const isToday = date.toDateString() === new Date().toDateString();
  return h("time", { datetime: iso, title }, isToday ? text : `${day.format(date)} ${text}`);
}
export const since = (seconds) =>
  h("span", time(seconds), ` (${duration(Math.max(0, Date.now() / 1000 - seconds))})`);
