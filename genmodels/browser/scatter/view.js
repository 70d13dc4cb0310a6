// Where a point lies on the screen: a centre in the data's units and CSS pixels per unit, the same on both axes.

const boundsOf = (xy) => {
  const found = { left: Infinity, right: -Infinity, bottom: Infinity, top: -Infinity };
  for (let i = 0; i < xy.length; i += 2) {
    if (xy[i] < found.left) found.left = xy[i];
    if (xy[i] > found.right) found.right = xy[i];
    if (xy[i + 1] < found.bottom) found.bottom = xy[i + 1];
    if (xy[i + 1] > found.top) found.top = xy[i + 1];
  }
  return xy.length ? found : { left: -1, right: 1, bottom: -1, top: 1 };
};

/** The view that shows all of the bounds. One point, or all in one place, still has a neighbourhood. */
function fitted(bounds, width, height) {
  const wide = bounds.right - bounds.left, high = bounds.top - bounds.bottom;
  const scales = [wide > 0 ? (width - 64) / wide : Infinity, high > 0 ? (height - 64) / high : Infinity];
  const scale = Math.min(...scales);
  return {
    x: (bounds.left + bounds.right) / 2, y: (bounds.bottom + bounds.top) / 2,
    k: Number.isFinite(scale) && scale > 0 ? scale : Math.min(width, height) / 4, width, height,
  };
}

const toScreen = (view, x, y) => [(x - view.x) * view.k + view.width / 2, view.height / 2 - (y - view.y) * view.k];
const toData = (view, px, py) => [(px - view.width / 2) / view.k + view.x, (view.height / 2 - py) / view.k + view.y];

/** Magnify by a factor, keeping what lies under (px, py) there; not beyond `home` / 4 and `home` * 2000. */
function zoomed(view, factor, px, py, home) {
  const k = Math.min(Math.max(view.k * factor, home / 4), home * 2000);
  const [x, y] = toData(view, px, py);
  return { ...view, k, x: x - (px - view.width / 2) / k, y: y + (py - view.height / 2) / k };
}

const panned = (view, dx, dy) => ({ ...view, x: view.x - dx / view.k, y: view.y + dy / view.k });

/** Round numbers about 70 pixels apart between two values. */
function ticks(low, high, pixels) {
  const rough = ((high - low) * 70) / pixels, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high && found.length < 50; i++) found.push(i * step);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}
