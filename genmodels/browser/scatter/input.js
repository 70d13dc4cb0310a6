// Mouse, touch and keys on the map. A single finger or the left button moves or draws; two fingers magnify. The page
// scrolls under the wheel unless the map has the focus, and under a finger that goes up or down unless it draws.

const CLICK = 4; // pixels the pointer may move between down and up

function listen(map, stage) {
  const down = new Map(); // pointers that touch, by id
  let drawn = null, start = null, moved = 0, spread = 0;
  const at = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const middle = () => {
    const all = [...down.values()];
    return [0, 1].map((axis) => all.reduce((sum, each) => sum + each[axis], 0) / all.length);
  };
  const apart = () => {
    const [a, b] = [...down.values()];
    return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0;
  };
  stage.onpointerdown = (event) => {
    if (event.button) return;
    stage.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    [start, moved, spread] = [middle(), 0, apart()];
    const draws = map.mode !== "move" || event.shiftKey;
    drawn = draws && down.size === 1 ? { kind: map.mode === "box" ? "box" : "lasso", corners: [...start] } : null;
    map.keys = false;
  };
  stage.onpointermove = (event) => {
    const here = at(event);
    if (!down.has(event.pointerId)) return map.hover(...here);
    down.set(event.pointerId, here);
    const now = middle();
    moved += Math.hypot(now[0] - start[0], now[1] - start[1]);
    if (down.size > 1) {
      drawn = null;
      if (spread) map.zoom(apart() / spread, ...now);
      spread = apart();
    }
    if (drawn) map.draft(extended(drawn, now));
    else if (moved > CLICK) map.pan(now[0] - start[0], now[1] - start[1]);
    start = now;
  };
  const up = (event) => {
    if (!down.delete(event.pointerId)) return;
    if (down.size) return void ([start, spread] = [middle(), apart()]);
    const extend = event.shiftKey && map.mode !== "move";
    if (event.type === "pointercancel") map.draft(null);
    else if (moved <= CLICK) map.draft(null), map.click(...at(event), event.shiftKey);
    else if (drawn) map.enclose(polygonOf(drawn), extend);
    drawn = null;
  };
  stage.onpointerup = stage.onpointercancel = up;
  stage.onpointerleave = () => {
    if (!down.size) map.leave();
  };
  const two = (event) => event.touches.length > 1 && event.preventDefault(); // or two fingers would scroll the page
  for (const kind of ["touchstart", "touchmove"]) stage.addEventListener(kind, two, { passive: false });
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !stage.matches(":focus")) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    map.zoom(Math.exp(-Math.max(-200, Math.min(200, event.deltaY * lines)) * 0.003), ...at(event));
  }, { passive: false });
  stage.onkeydown = (event) => {
    if (pressed(map, event)) event.preventDefault(); // a handler that returned false would swallow Tab and F5 as well
  };
  stage.onblur = () => map.leave();
}

function extended(drawn, [x, y]) {
  if (drawn.kind === "box") drawn.corners = [...drawn.corners.slice(0, 2), x, y];
  else drawn.corners.push(x, y);
  return drawn;
}

/** A box as a polygon, as a lasso is one already. */
function polygonOf({ kind, corners: [x, y, u, v, ...rest] }) {
  return kind === "box" ? [x, y, u, y, u, v, x, v] : [x, y, u, v, ...rest];
}

/** Arrows move the map under a cross in its middle, and what lies under the cross is shown as if pointed at. */
function pressed(map, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const far = event.shiftKey ? 160 : 40, { width, height } = map.view;
  const moves = { ArrowLeft: [far, 0], ArrowRight: [-far, 0], ArrowUp: [0, far], ArrowDown: [0, -far] };
  const act = {
    "+": () => map.zoom(1.3, width / 2, height / 2), "=": () => map.zoom(1.3, width / 2, height / 2),
    "-": () => map.zoom(1 / 1.3, width / 2, height / 2), 0: () => map.home(), Escape: () => map.clear(),
    Enter: () => map.click(width / 2, height / 2, false), " ": () => map.click(width / 2, height / 2, event.shiftKey),
  }[event.key] || (moves[event.key] && (() => map.pan(...moves[event.key])));
  if (!act) return false;
  map.keys = event.key !== "Escape";
  act();
  if (map.keys) map.hover(width / 2, height / 2);
  return true;
}
