/** Asks before an order is sent. The dialog is the browser's: it keeps the focus inside, and Escape says no. */

import { at, write } from "./dom.js";

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
  return new Promise((resolve) => {
    let said = null;
    agree.onclick = () => {
      said = { remove: removable && box.checked };
      dialog.close();
    };
    decline.onclick = () => dialog.close();
    dialog.onclose = () => resolve(said);
    dialog.showModal();
    decline.focus();
  });
}
