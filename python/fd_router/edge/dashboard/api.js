/**
 * Asking the router. The key is kept in the tab's own storage, which ends with the tab, and is sent in a header: a URL
 * stands in histories and logs.
 *
 * Paths are relative, so that the page works behind a proxy that serves it under a prefix.
 */

const PLACE = "fd-router-key";
/** Milliseconds after which an answer is not waited for any more. */
const PATIENCE = 5000;

export const key = {
  get: () => sessionStorage.getItem(PLACE),
  set: (value) => sessionStorage.setItem(PLACE, value),
  forget: () => sessionStorage.removeItem(PLACE),
};

/** An answer that is an error; `status` is its HTTP status. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** What the router answers, from JSON. Throws `Refusal`; whatever else is thrown means that there was no answer. */
export async function ask(path, order = null) {
  const held = key.get();
  const answer = await fetch(path, {
    method: order === null ? "GET" : "POST",
    body: order === null ? undefined : JSON.stringify(order),
    headers: {
      ...(held === null ? {} : { authorization: `Bearer ${held}` }),
      ...(order === null ? {} : { "content-type": "application/json" }),
    },
    cache: "no-store",
    redirect: "error",
    signal: AbortSignal.timeout(PATIENCE),
  });
  if (answer.ok) return answer.json();
  throw new Refusal(answer.status, await said(answer));
}

async function said(answer) {
  const text = await answer.text();
  try {
    const told = JSON.parse(text);
    return String(told.msg ?? told.error?.message ?? told.error ?? text);
  } catch {
    return text || `status ${answer.status}`;
  }
}
