/** Asks before an order is sent. The dialog is the browser's: it keeps the focus inside, and Escape says no. */

import { at, write } from "./dom.js";

let opened = 0;

/**
 * Whether the viewer says yes: null for no, else `{remove}`. `removable` offers to unregister the worker as well.
 * The focus begins at *no*, and goes back to where it was.
 */
export function confirm({ title, text, warning, yes, removable, grave }) {
  const dialog = at("confirm");
  const [agree, decline, box] = [at("confirm-yes"), at("confirm-no"), at("confirm-remove-box")];
  write(at("confirm-title"), title);
  write(at("confirm-text"), text);
  write(at("confirm-warning"), warning);
  write(agree, yes);
  agree.classList.toggle("grave", grave);
  at("confirm-remove").hidden = !removable;
  box.checked = false;
  opened += 1;
  const mine = opened;
  return new Promise((resolve) => {
    let said = null;
    // The event comes a moment after the dialog has closed, when the next question may be open already.
    const closed = () => {
      if (dialog.open && mine === opened) return;
      dialog.removeEventListener("close", closed);
      resolve(said);
    };
    agree.onclick = () => {
      said = { remove: removable && box.checked };
      dialog.close();
    };
    decline.onclick = () => dialog.close();
    dialog.addEventListener("close", closed);
    dialog.showModal();
    decline.focus();
  });
}
