// A map of points: what is shown, what is selected, and drawing one frame of it.

const REACH = 10; // CSS pixels within which a point is pointed at
const THUMB = 32; // CSS pixels of a thumbnail, about
const SELECTIONS = (window.latentSelections ??= new Map()); // key -> base64, for as long as the tab: as Python keeps it
const PRESSED = (window.latentPressed ??= new Map()); // of each legend, the labels that are shown alone

/** The message, with what the map needs of it in the form it needs. */
function messageOf(bytes) {
  const message = unpack(bytes);
  message.labels = Uint16Array.from(message.labels);
  message.ids ??= Uint32Array.from(message.labels, (_, i) => i);
  return message;
}

const sceneOf = (xy, labels, ids) => ({ xy, labels, ids, flags: new Uint8Array(ids.length), counts: [0, 0, 0, 0] });

/** Those of the replay, with the labels that the whole map has for them. */
function watchedScene(message) {
  const where = new Map(Array.from(message.ids, (id, i) => [id, i]));
  const labels = Uint16Array.from(message.watched, (id) => message.labels[where.get(id)] ?? 0);
  return sceneOf(new Float32Array(2 * message.watched.length), labels, message.watched);
}

function bitsOf(text, count) {
  const bytes = Uint8Array.from(atob(text || ""), (each) => each.charCodeAt(0));
  return Uint8Array.from({ length: count }, (_, i) => (bytes[i >> 3] >> (i & 7)) & 1);
}

function textOf(bits) {
  const bytes = new Uint8Array(Math.ceil((bits.lastIndexOf(1) + 1) / 8));
  bits.forEach((bit, i) => bit && (bytes[i >> 3] |= 1 << (i & 7)));
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

class ScatterMap {
  constructor(root) {
    this.root = root;
    this.find = (what) => root.querySelector(what);
    this.stage = this.find(".stage");
    this.over = this.find(".over");
    this.pen = this.over.getContext("2d");
    [this.mode, this.keys, this.thumbs, this.letters, this.on] = ["move", false, false, false, new Set()];
    const paper = () => this.paper();
    this.usePainter(webglPainter(() => this.usePainter(plainPainter(paper))) || plainPainter(paper));
    this.show = latest((id) => this.fetchShown(id));
    this.try = latest((x, y) => this.fetchPlace(x, y));
    this.fill = latest((ids) => this.pictures.get(ids, this.what).then(() => this.redraw()));
    listen(this, this.stage);
    this.find(".tools").onclick = (event) => this.pressTool(event.target.closest("button"));
    this.find(".tools").onkeydown = (event) => this.nextMode(event);
    this.sizes = new ResizeObserver(() => this.resize());
    this.hears = ({ detail: { keep, text, from } }) => {
      const shared = from !== this && keep.some((key) => this.message.keep.includes(key));
      if (shared) this.select(bitsOf(text, this.bits.length));
    };
    document.addEventListener("latent-selection", this.hears);
  }

  usePainter(painter) {
    this.painter?.canvas.remove();
    this.painter = painter;
    this.stage.prepend(painter.canvas);
    this.stage.dataset.painter = painter.kind;
    if (this.scene) this.resize(), this.look(this.scene);
  }

  style(name) {
    return getComputedStyle(this.stage).getPropertyValue(name).trim();
  }

  paper() {
    return this.style("--st-background-color") || "white";
  }

  ink() {
    return this.style("--st-text-color") || "black";
  }

  /** A new message. The view stays where it is unless the axes are others. */
  load(message) {
    const same = this.message && this.message.name === message.name && `${this.message.axes}` === `${message.axes}`;
    this.replay?.close();
    this.message = message;
    this.what = message.real === false ? "reconstruction" : "original";
    this.pictures = message.images || message.from ? picturesOf(message) : null;
    const numbers = message.ids.reduce((most, id) => Math.max(most, id), 0) + 1;
    this.full = sceneOf(message.points, message.labels, message.ids);
    this.order = shuffled(message.ids.length);
    this.bits = bitsOf(message.keep.map((key) => SELECTIONS.get(key)).find((text) => text !== undefined) ?? message.first, numbers);
    this.signs = this.pinned = null;
    const most = Math.max(320, Math.min(innerHeight * 0.75, this.stage.clientWidth * 1.1 || Infinity));
    this.stage.style.height = `${Math.min(message.height, most)}px`;
    this.on = new Set(PRESSED.get(message.legend) ?? message.on);
    this.dress();
    this.look(this.full);
    this.find(".replay").hidden = true;
    if (message.steps) this.replay = replayOf(this.root, message, watchedScene(message), (scene) => this.look(scene || this.full));
    this.view = same ? this.view : null;
    this.hide();
    this.sizes.disconnect();
    this.sizes.observe(this.stage);
  }

  dress() {
    const { message } = this, short = message.classes.length > 1 && message.classes.every((name) => name.length < 3);
    this.find("[data-act=thumbs]").hidden = !this.pictures;
    this.find("[data-act=letters]").hidden = !short;
    this.letters = this.letters && short;
    [".axis.x", ".axis.y"].forEach((axis, i) => (this.find(axis).textContent = message.axes[i]));
    this.stage.setAttribute("aria-label", `${message.name}: ${message.ids.length} points in ${message.classes.length} classes. Arrow keys move it, plus and minus magnify, 0 shows all, Enter picks what lies under the cross, Escape clears.`);
    drawLegend(this.find(".legend"), message, this.on, () => this.press(), this.paper(), this.ink());
    this.find(".title").hidden = !message.title;
    this.find(".title").textContent = this.find(".title").title = message.title;
    this.drawTools();
  }

  /** Make this scene the one that is shown. */
  look(scene) {
    const other = this.scene !== scene;
    this.scene = scene;
    if (other) this.pinned = null; // it was decoded as the model is in the end
    scene.grid = scene.middles = scene.thumbs = null;
    this.painter.places(scene);
    if (other || !scene.flagged) this.painter.labels(scene), this.flag();
    this.redraw();
  }

  isOn(i) {
    return this.on.size === 0 || this.on.has(this.scene.labels[i]);
  }

  /** Another class was pressed in the legend. */
  press() {
    const { legend } = this.message, on = [...this.on];
    this.flag();
    if (!legend) return;
    PRESSED.set(legend, on);
    this.send("shown", on);
  }

  /** What is dimmed (1), plain (2) and selected (3). */
  flag() {
    const { scene, bits } = this, any = bits.indexOf(1) >= 0;
    scene.counts = [0, 0, 0, 0];
    scene.flags.forEach((_, i) => {
      scene.flags[i] = !this.isOn(i) ? 1 : !any ? 2 : bits[scene.ids[i]] ? 3 : 1;
      scene.counts[scene.flags[i]]++;
    });
    scene.flagged = true;
    if (scene !== this.full) this.full.flagged = false;
    scene.thumbs = null;
    this.painter.flags(scene);
    this.drawTools();
    this.redraw();
  }

  grid() {
    return (this.scene.grid ??= gridOf(this.scene.xy));
  }

  resize() {
    const { width, height } = this.stage.getBoundingClientRect();
    if (!width || !height) return;
    this.ratio = Math.min(2, devicePixelRatio || 1);
    for (const canvas of [this.painter.canvas, this.over]) {
      [canvas.width, canvas.height] = [Math.round(width * this.ratio), Math.round(height * this.ratio)];
    }
    const whole = fitted(boundsOf(this.full.xy), width, height);
    const untouched = !this.view || this.view.k === this.homeScale;
    this.homeScale = whole.k;
    this.view = untouched ? whole : { ...this.view, width, height };
    this.draw();
  }

  home() {
    this.view = fitted(boundsOf(this.full.xy), this.view.width, this.view.height);
    this.moved();
  }

  pan(dx, dy) {
    this.view = panned(this.view, dx, dy);
    this.moved();
  }

  zoom(factor, px, py) {
    this.view = zoomed(this.view, factor, px, py, this.homeScale);
    this.moved();
  }

  moved() {
    this.find(".tip").hidden = true;
    this.redraw();
  }

  redraw() {
    this.waiting ||= requestAnimationFrame(() => this.draw());
  }

  // -- selecting

  draft(drawn) {
    this.drawn = drawn;
    this.hide();
    this.redraw();
  }

  /** Select what lies inside a polygon of the screen. */
  enclose(polygon, extend) {
    const corners = [];
    for (let i = 0; i < polygon.length; i += 2) corners.push(...toData(this.view, polygon[i], polygon[i + 1]));
    this.drawn = null;
    this.choose(enclosed(this.grid(), corners, (i) => this.isOn(i)), extend);
  }

  choose(points, extend) {
    const bits = extend ? this.bits.slice() : new Uint8Array(this.bits.length);
    for (const i of points) bits[this.scene.ids[i]] = 1;
    this.select(bits);
    const text = textOf(bits), { keep } = this.message;
    for (const key of keep) SELECTIONS.set(key, text);
    document.dispatchEvent(new CustomEvent("latent-selection", { detail: { keep, text, from: this } }));
    this.send("selection", text);
  }

  select(bits) {
    this.bits = bits;
    this.flag();
    const count = this.selected();
    this.find(".said").textContent = count ? `${count} images selected` : "Selection cleared";
  }

  selected() {
    return this.bits.reduce((sum, bit) => sum + bit, 0);
  }

  clear() {
    this.drawn = this.pinned = null;
    this.hide();
    if (this.selected()) this.choose([], false);
    this.redraw();
  }

  // -- tools

  pressTool(button) {
    if (!button) return;
    const { width, height } = this.view, { mode, act } = button.dataset;
    if (mode) this.mode = mode;
    if (act === "thumbs" || act === "letters") this[act] = !this[act];
    if (act === "letters") this.signs = null;
    if (act === "closer" || act === "farther") this.zoom(act === "closer" ? 1.5 : 1 / 1.5, width / 2, height / 2);
    if (act === "home") this.home();
    if (act === "all") this.enclose([0, 0, width, 0, width, height, 0, height], false);
    if (act === "clear") this.clear();
    this.drawTools();
    this.redraw();
  }

  modes() {
    return [...this.root.querySelectorAll("[role=radio]")];
  }

  nextMode(event) {
    const next = nextRadio(event, this.modes());
    if (!next) return;
    this.pressTool(next);
    next.focus();
  }

  drawTools() {
    this.stage.dataset.mode = this.mode;
    markRadios(this.modes(), (radio) => radio.dataset.mode === this.mode);
    for (const each of ["thumbs", "letters"]) this.find(`[data-act=${each}]`).setAttribute("aria-pressed", this[each]);
    const count = this.selected();
    this.find("[data-act=clear]").disabled = !count;
    this.find(".count").textContent = count ? `${count.toLocaleString("en")} selected` : "";
  }
}
