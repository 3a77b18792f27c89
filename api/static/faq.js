/* Opens the entry that the address names. Without it the entries open by a click. */
(() => {
  "use strict";
  const openTarget = () => {
    const entry = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (entry?.matches("details")) {
      entry.open = true;
      entry.scrollIntoView({ block: "center" });
    }
  };
  addEventListener("hashchange", openTarget);
  openTarget();
})();
