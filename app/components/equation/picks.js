// Images with words under them: to look at, or to pick one or many of.

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".picks"), { head, ...message } = unpack(data);
  root.send = setStateValue;
  root.on = new Set(message.chosen);
  // `version` stands for the images. What is picked alone changes the marks alone, so that the focus stays where it is.
  const known = JSON.stringify({ ...message, images: 0, chosen: 0 });
  if (root.known !== known) draw(root, message);
  root.known = known;
  mark(root);
}

function draw(root, { ids, words, alts, shape, scale, images, pick, name }) {
  root.tiles = ids.map((id, i) => {
    const tile = make(pick ? "button" : "figure", "tile");
    tile.append(pictureOf(images, i, shape, scale, alts[i]), make("small", "", words[i]));
    if (!pick) return tile;
    Object.assign(tile, { type: "button", number: id });
    tile.setAttribute("aria-label", alts[i]);
    tile.addEventListener("click", () => press(root, id, pick));
    return tile;
  });
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", name);
  root.replaceChildren(...root.tiles);
}

function press(root, id, pick) {
  const was = root.on.has(id);
  if (pick === "one") root.on.clear();
  if (was && pick === "many") root.on.delete(id);
  else root.on.add(id);
  mark(root);
  root.send("chosen", [...root.on]);
}

function mark({ tiles, on }) {
  for (const tile of tiles) if (tile.type === "button") tile.setAttribute("aria-pressed", on.has(tile.number));
}
