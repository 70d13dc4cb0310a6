// How the map formed: the watched points glide from snapshot to snapshot; past the last stands the whole map.

const PER_SNAPSHOT = 0.3; // seconds

/**
 * The slider and its button. message: `steps`, `frames` float32 (S, M, 2) and the scene of the M points; `show` is
 * called with that scene, or with null for the whole map.
 */
function replayOf(root, message, scene, show) {
  const bar = root.querySelector(".replay"), play = bar.querySelector("button"), slider = bar.querySelector("input");
  const said = bar.querySelector("output"), end = message.steps.length, calm = matchMedia("(prefers-reduced-motion: reduce)");
  let time = end, goal = end, speed = 0, before = 0, ticking = 0;
  bar.hidden = false;
  slider.max = end;

  function place() {
    if (time >= end) return show(null);
    const at = calm.matches ? Math.round(time) : time, first = Math.min(Math.floor(at), end - 1);
    const next = Math.min(first + 1, end - 1), size = scene.xy.length, share = at - first;
    const [from, to] = [first, next].map((i) => message.frames.subarray(i * size, (i + 1) * size));
    for (let i = 0; i < size; i++) scene.xy[i] = from[i] + share * (to[i] - from[i]);
    show(scene);
  }
  function tell(at = time) {
    const step = Math.min(end, Math.round(at));
    slider.value = step;
    const words = step >= end ? "end: all images" : `step ${message.steps[step].toLocaleString("en")}: ${scene.ids.length} images`;
    said.textContent = words;
    slider.setAttribute("aria-valuetext", words);
    play.textContent = speed ? "❚❚" : "▶";
    play.setAttribute("aria-label", speed ? "Pause" : "Play how the map formed");
  }
  function tick(now) {
    const seconds = Math.max(0, Math.min(0.1, (now - before) / 1000)); // a frame's time may lie before its asking
    before = now;
    if (speed) time = Math.min(end, time + seconds / PER_SNAPSHOT);
    else time = Math.abs(goal - time) < 0.02 ? goal : time + (goal - time) * Math.min(1, seconds * 12);
    if (speed && time >= end) speed = 0;
    place();
    if (speed || time === end) tell();
    ticking = speed || time !== goal ? requestAnimationFrame(tick) : 0;
  }
  function go() {
    before = performance.now();
    ticking ||= requestAnimationFrame(tick);
  }
  play.onclick = () => {
    speed = speed ? 0 : 1;
    if (speed && time >= end) time = 0;
    goal = speed ? end : Math.round(time);
    tell(speed ? time : goal);
    go();
  };
  slider.oninput = () => {
    [speed, goal] = [0, Number(slider.value)];
    if (goal < end) time = Math.min(time, end - 1);
    if (calm.matches) time = goal;
    tell(goal);
    go();
  };
  tell();
  return { close: () => cancelAnimationFrame(ticking) };
}
