// What is shown of the point, or of the empty place, that is pointed at.

Object.assign(ScatterMap.prototype, {
  hover(px, py) {
    if (!this.view) return;
    const [x, y] = toData(this.view, px, py);
    const point = nearest(this.grid(), x, y, REACH / this.view.k, (i) => this.isOn(i));
    this.pointer = { px, py, x, y, point };
    this.stage.style.cursor = point >= 0 && this.mode === "move" ? "pointer" : "";
    if (point >= 0) this.show(point);
    else if (this.canDecode()) this.try(x, y);
    else this.hide();
    if (this.keys) this.redraw();
  },

  canDecode() {
    return Boolean(this.message.plane && this.mode === "move" && this.scene === this.full);
  },

  leave() {
    this.keys = false;
    this.hide();
    this.redraw();
  },

  hide() {
    this.pointer = null;
    this.find(".tip").hidden = true;
  },

  /** A point: its image and the model's copy. The words come at once, the pictures when they are here. */
  async fetchShown(point) {
    const { message, scene, pictures } = this, id = scene.ids[point], name = message.classes[scene.labels[point]];
    const called = `Test image ${id + 1}`; // people count from 1
    const words = message.classes.length > 1 ? `${called}: ${name}` : called;
    const kinds = message.real === false ? ["reconstruction"] : ["original", "reconstruction"];
    const copy = scene === this.full ? "model's copy" : "model's copy in the end";
    const shown = () => this.pointer?.point === point && this.scene === scene;
    const draw = () => shown() && this.tell(this.find(".tip"), words, pictures ? kinds.map((kind) => [pictures.tile(id, kind), kind === "original" ? "image" : copy]) : []);
    draw();
    if (this.keys) this.find(".said").textContent = words;
    if (!pictures || kinds.every((kind) => pictures.has(id, kind))) return;
    await Promise.all(kinds.map((kind) => pictures.get([id], kind)));
    draw();
  },

  /** An empty place: what the decoder draws there. */
  async fetchPlace(x, y) {
    const tile = await this.pictures.decode(x, y);
    if (this.pointer?.point === -1) this.tell(this.find(".tip"), "", [[tile, this.placeWords(x, y)]]);
  },

  placeWords: (x, y) => `decoded at (${x.toFixed(2)}, ${y.toFixed(2)})`.replaceAll("-", "−"),

  tell(tip, words, figures) {
    const head = make("strong", "", words), row = make("div");
    row.append(...figures.map(([tile, under]) => figureOf(this.pictures, this.message.shape, tile, under)));
    tip.replaceChildren(...(words ? [head] : []), row);
    tip.hidden = false;
    if (this.pointer) this.put(tip, this.pointer.px, this.pointer.py, 14);
  },

  /** Of earlier steps only the codes were kept: the decoder there is would draw what the model did not draw then. */
  refuse(px, py) {
    if (this.scene === this.full || !this.message.plane || this.mode !== "move") return;
    this.pointer = { px, py, point: -1 };
    const words = "Nothing is decoded before the end: of earlier steps only the points were kept.";
    this.tell(this.find(".tip"), words, []);
    this.find(".said").textContent = words;
  },

  /** Beside the place, and inside the map. */
  put(tip, px, py, gap) {
    const { width, height } = this.view, x = px + gap + tip.offsetWidth > width ? px - gap - tip.offsetWidth : px + gap;
    const y = Math.min(py + gap, height - tip.offsetHeight - 4);
    tip.style.transform = `translate(${Math.max(4, x)}px, ${Math.max(4, y)}px)`;
  },

  /** A click picks the point, or keeps the picture decoded at an empty place beside a cross. */
  async click(px, py, extend) {
    this.hover(px, py);
    const { x, y, point } = this.pointer ?? {};
    if (point >= 0) return this.choose([point], extend);
    if (!this.canDecode()) return this.refuse(px, py);
    const pin = (this.pinned = { x, y });
    try {
      const tile = await this.pictures.decode(x, y);
      if (this.pinned !== pin) return;
      this.hide();
      this.tell(this.find(".pin"), "", [[tile, this.placeWords(x, y)]]);
      this.find(".said").textContent = this.placeWords(x, y);
    } catch {
      this.pinned = null; // the server is away or refuses
    }
    this.redraw();
  },
});
