// Numbers, sizes and times as text. Times are in the reader's zone; their titles have UTC.
import { h } from "./dom.js";

const NONE = "–";
const whole = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export const number = (value) => (value == null ? NONE : (Math.abs(value) < 100 ? short : whole).format(value));
export const percent = (value) => (value == null ? NONE : `${whole.format(value * 100)} %`);
export const yesNo = (value) => (value ? "yes" : "no");

export function bytes(value) {
  if (value == null) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = value < 1024 ? 0 : Math.min(Math.floor(Math.log2(value) / 10), 4);
  return `${number(value / 1024 ** step)} ${units[step]}`;
}

/** Seconds, in the two largest units that matter. */
export function duration(seconds) {
  if (seconds == null) return NONE;
  if (seconds === 0) return "0 s";
  if (seconds < 1) return `${short.format(seconds * 1000)} ms`;
  if (seconds < 60) return `${short.format(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A point in time (seconds since 1970); milliseconds if they are wanted, and the date unless it is today. */
export function time(seconds, { milliseconds = false } = {}) {
  if (seconds == null) return NONE;
  const date = new Date(seconds * 1000);
  const fraction = milliseconds ? `.${String(date.getMilliseconds()).padStart(3, "0")}` : "";
  const isToday = date.toDateString() === new Date().toDateString();
  const text = `${isToday ? "" : `${day.format(date)} `}${clock.format(date)}${fraction}`;
  return h("time", { datetime: date.toISOString(), title: date.toISOString().replace("T", " ").replace("Z", " UTC") }, text);
}

export const since = (seconds) => h("span", {}, time(seconds), ` (${duration(Math.max(0, Date.now() / 1000 - seconds))})`);
