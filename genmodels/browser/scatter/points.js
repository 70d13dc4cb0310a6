// Which point is near, which lie inside a line drawn by hand.

/** Points sorted into square cells, about two in each, so that the nearest is found without looking at all. */
function gridOf(xy) {
  const bounds = boundsOf(xy), count = xy.length / 2;
  const side = Math.max(bounds.right - bounds.left, bounds.top - bounds.bottom) || 1;
  const n = Math.max(1, Math.min(512, Math.ceil(Math.sqrt(count / 2)))), size = side / n;
  const cell = (value, low) => Math.max(0, Math.min(n - 1, Math.floor((value - low) / size)));
  const of = new Uint32Array(count), start = new Uint32Array(n * n + 1), sorted = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    of[i] = cell(xy[2 * i + 1], bounds.bottom) * n + cell(xy[2 * i], bounds.left);
    start[of[i] + 1]++;
  }
  for (let c = 0; c < n * n; c++) start[c + 1] += start[c];
  const next = start.slice();
  for (let i = 0; i < count; i++) sorted[next[of[i]]++] = i;
  return { xy, n, cell, bounds, start, sorted };
}

/** Calls `visit` with each point in the cells that the rectangle touches. */
function around(grid, left, bottom, right, top, visit) {
  const { n, cell, bounds, start, sorted } = grid;
  const [c0, c1] = [cell(left, bounds.left), cell(right, bounds.left)];
  for (let r = cell(bottom, bounds.bottom); r <= cell(top, bounds.bottom); r++) {
    for (let s = start[r * n + c0]; s < start[r * n + c1 + 1]; s++) visit(sorted[s]);
  }
}

/** The nearest point within `radius` that `may` be found; -1 where there is none. */
function nearest(grid, x, y, radius, may) {
  let best = -1, least = radius * radius;
  around(grid, x - radius, y - radius, x + radius, y + radius, (i) => {
    const dx = grid.xy[2 * i] - x, dy = grid.xy[2 * i + 1] - y, square = dx * dx + dy * dy;
    if (square <= least && may(i)) [best, least] = [i, square];
  });
  return best;
}

/** Whether (x, y) lies inside the polygon [x0, y0, x1, y1, ...]: an odd number of its edges lie to the right. */
function isInside(polygon, x, y) {
  let odd = false;
  for (let i = 0, j = polygon.length - 2; i < polygon.length; j = i, i += 2) {
    const yi = polygon[i + 1], yj = polygon[j + 1];
    if (yi > y !== yj > y && x < ((polygon[j] - polygon[i]) * (y - yi)) / (yj - yi) + polygon[i]) odd = !odd;
  }
  return odd;
}

/** Points inside the polygon that `may` be found. */
function enclosed(grid, polygon, may) {
  const box = boundsOf(polygon), found = [];
  around(grid, box.left, box.bottom, box.right, box.top, (i) => {
    if (may(i) && isInside(polygon, grid.xy[2 * i], grid.xy[2 * i + 1])) found.push(i);
  });
  return found;
}

/** The middle of each class: half of its points lie to each side. label -> [x, y]. */
function medians(xy, labels) {
  const found = new Map();
  labels.forEach((label, i) => {
    if (!found.has(label)) found.set(label, [[], []]);
    found.get(label)[0].push(xy[2 * i]);
    found.get(label)[1].push(xy[2 * i + 1]);
  });
  const middle = (values) => Float32Array.from(values).sort()[values.length >> 1];
  return new Map([...found].map(([label, [xs, ys]]) => [label, [middle(xs), middle(ys)]]));
}

/**
 * Points of `order` whose squares, `side` wide around them, do not overlap: first come, first placed. The choice
 * depends on the magnification alone, so that nothing jumps while the map is moved.
 */
function placed(xy, order, side, may) {
  const taken = new Map(), found = [], at = (c, r) => c * 67108864 + r;
  for (const i of order) {
    if (!may(i)) continue;
    const x = xy[2 * i], y = xy[2 * i + 1], c = Math.floor(x / side), r = Math.floor(y / side);
    let free = true;
    for (let u = c - 1; free && u <= c + 1; u++) {
      for (let v = r - 1; free && v <= r + 1; v++) {
        const other = taken.get(at(u, v)); // a cell has room for one: two in it would overlap
        free = other === undefined || Math.abs(xy[2 * other] - x) >= side || Math.abs(xy[2 * other + 1] - y) >= side;
      }
    }
    if (free) taken.set(at(c, r), i), found.push(i);
  }
  return found;
}

/** 0 to count-1 in an order that is random but always the same. */
function shuffled(count) {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1, seed = 1; i > 0; i--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((seed / 4294967296) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
