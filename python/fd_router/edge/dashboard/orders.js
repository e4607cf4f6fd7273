/** Orders about workers: which fit a worker's state, and what each means for whoever gives it. */

import { ask } from "./api.js";
import { confirm } from "./confirm.js";
import { address, some } from "./text.js";

/** What is offered in each state. */
export const OFFERED = {
  up: ["drain", "eject"],
  unready: ["readmit", "drain"],
  probation: ["readmit", "drain"],
  ejected: ["readmit", "drain"],
  draining: ["undrain"],
  drained: ["undrain"],
};

export const NAMES = { drain: "Drain", undrain: "Undrain", eject: "Eject", readmit: "Readmit" };

const LEAVES = new Set(["drain", "eject"]);

function meaning(verb, row) {
  const going = row.running ? `The ${some(row.running, "request")} under way ${row.running === 1 ? "goes" : "go"} on to the end.` : "Nothing is under way there.";
  return {
    drain: `New requests go to other workers until it is undrained, whatever it says of itself. ${going}`,
    eject: `New requests go to other workers until it is readmitted: it is not to be trusted. ${going}`,
    undrain: "It is given new requests again.",
    readmit: "It is given new requests again at once, whatever its requests and its probes said before.",
  }[verb];
}

/** Asks the viewer, and sends the order. Returns the worker's row as it is then, null where the viewer said no. */
export async function order(verb, row, rows) {
  const others = rows.filter((each) => each.role === row.role && each.state === "up" && each.url !== row.url);
  const leaves = LEAVES.has(verb);
  const said = await confirm({
    title: `${NAMES[verb]} ${address(row.url)}?`,
    text: meaning(verb, row),
    warning: leaves && !others.length ? `No other ${row.role} worker is up: requests will fail.` : "",
    yes: NAMES[verb],
    removable: verb === "drain",
    grave: leaves,
  });
  if (said === null) return null;
  const answer = await ask(`workers/${verb}`, { url: row.url, ...(said.remove ? { remove: true } : {}) });
  return answer.worker;
}
