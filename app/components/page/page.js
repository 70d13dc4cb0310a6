// What Streamlit does not do for those who use a keyboard, a phone or the way back. It is run once for all pages.

(() => {
  const root = document.documentElement;
  if (root.dataset.helped) return;
  root.dataset.helped = "true";

  // A popover stands at the end of the document: Tab leads from its button into it, and from its end to what follows.
  const STOPS = "a[href], button, input, textarea, select, [tabindex]";
  document.addEventListener("keydown", (event) => {
    const popover = document.querySelector("[data-testid=stPopoverBody]");
    const button = document.querySelector("[data-testid=stPopoverButton][aria-expanded=true]");
    if (event.key !== "Tab" || !popover || !button) return;
    const stops = [...popover.querySelectorAll(STOPS)].filter(
      (each) => each.tabIndex >= 0 && !each.disabled && each.checkVisibility(),
    );
    const [first, last, here] = [stops[0], stops.at(-1), document.activeElement];
    if (first && here === button && !event.shiftKey) {
      event.preventDefault();
      first.focus();
    } else if (first && here === (event.shiftKey ? first : last)) {
      if (event.shiftKey) event.preventDefault(); // else the browser goes on from the button
      button.focus();
    }
  });

  // On a narrow screen the sidebar covers the page that was chosen in it.
  document.addEventListener("click", (event) => {
    if (innerWidth <= 768 && event.target.closest("[data-testid=stSidebar] a"))
      setTimeout(() => document.querySelector("[data-testid=stSidebarCollapseButton] button")?.click());
  });

  // A page that fills its address in by itself is no place to come back to: nobody has done anything there.
  // Before this was run a link may have been pressed, and where that led to is not yet in the address.
  const opened = performance.getEntriesByType("navigation")[0]?.name;
  let acted = navigator.userActivation?.hasBeenActive && opened === location.href;
  for (const kind of ["pointerdown", "click", "keydown"]) addEventListener(kind, () => (acted = true), true);
  const { pushState, replaceState } = history;
  history.pushState = (...where) => {
    (acted ? pushState : replaceState).apply(history, where);
    acted = false;
  };
})();
