/** Figures as people read them. A figure that is not known is a dash. */

export const NONE = "–";

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

/** A whole number, in groups of three. */
export const count = (value) => (known(value) ? Math.round(value).toLocaleString("en") : NONE);

/** Tokens and the like, in three digits. */
export function short(value) {
  if (!known(value)) return NONE;
  const size = Math.abs(value);
  if (size < 1000) return String(Math.round(value));
  for (const [unit, scale] of [["k", 1e3], ["M", 1e6], ["G", 1e9]]) {
    if (size < scale * 999.5 || unit === "G") return `${digits(value / scale)}${unit}`;
  }
}

const digits = (value) => (value < 9.95 ? value.toFixed(1) : String(Math.round(value)));

/** Something in a second. */
export function rate(value) {
  if (!known(value)) return NONE;
  if (value === 0) return "0";
  if (value < 0.095) return value.toFixed(2);
  return value < 99.5 ? value.toFixed(1) : count(value);
}

export const percent = (ratio) => (known(ratio) ? `${Math.round(100 * ratio)} %` : NONE);

/** A time that something took, from seconds. */
export function took(secs) {
  if (!known(secs)) return NONE;
  if (secs < 0.0095) return `${(1000 * secs).toFixed(1)} ms`;
  if (secs < 0.9995) return `${Math.round(1000 * secs)} ms`;
  if (secs < 9.995) return `${secs.toFixed(2)} s`;
  return secs < 99.5 ? `${secs.toFixed(1)} s` : span(secs);
}

/** A span of time in one unit, from seconds. */
export function span(secs) {
  if (!known(secs)) return NONE;
  if (secs < 60) return `${Math.max(0, Math.floor(secs))} s`;
  if (secs < 3600) return `${Math.floor(secs / 60)} min`;
  if (secs < 48 * 3600) return `${Math.floor(secs / 3600)} h`;
  return `${Math.floor(secs / 86400)} d`;
}

export function bytes(value) {
  if (!known(value)) return NONE;
  let size = value / 1024;
  for (const unit of ["KiB", "MiB"]) {
    if (size < 1023.5) return `${digits(size)} ${unit}`;
    size /= 1024;
  }
  return `${digits(size)} GiB`;
}

/** How many times something, where that is of interest. */
export const times = (factor) => `×${factor < 9.95 ? factor.toFixed(1) : Math.round(factor)}`;

/** A worker's URL without what all have. */
export const address = (url) => url.replace(/^http:\/\//, "");

/** `3 requests`, `1 request`. */
export const some = (number, thing) => `${count(number)} ${thing}${number === 1 ? "" : "s"}`;
