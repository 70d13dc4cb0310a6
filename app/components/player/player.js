// A film of one or two runs on the same tour: play, pause, scrub; what the meter says of the frame stands beside it.

const PATIENCE = 150; // ms at rest after which the page hears of it, and writes the frame into the address

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".player");
  const player = (root.film ??= new Player(root));
  player.send = (frame) => setStateValue("frame", frame);
  player.load(data);
  // A rerun may tidy up and call again: only what has left the page is stopped.
  return () => queueMicrotask(() => { if (!root.isConnected) player.close(); });
}

class Player {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(name);
    this.frame = 0;
    this.scrubber = this.find(".scrubber");
    this.scrubber.oninput = () => { this.pause(); this.show(Number(this.scrubber.value)); };
    this.scrubber.onchange = () => this.settle();
    this.scrubber.onkeydown = (event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      this.toggle();
    };
    this.find(".play").onclick = () => this.toggle();
    this.watch = new ResizeObserver(() => this.about && this.resize());
    this.watch.observe(root);
  }

  async load(data) {
    const about = unpack(data);
    if (about.head === this.about?.head) return;
    this.about = about;
    this.frame = Math.min(this.moved ? this.frame : about.start, about.count - 1); // it may be shorter than the last
    this.runs = about.runs.map((run, number) => {
      const [probabilities, reads, off] = ["probabilities", "reads", "off"].map((name) => about[`${name}${number}`]);
      return { ...run, probabilities, reads, off };
    });
    const sheets = this.runs.map((_, number) => new Blob([about[`sheet${number}`]], { type: "image/png" }));
    const pictures = Promise.all(sheets.map((sheet) => createImageBitmap(sheet)));
    this.build();
    const known = await pictures;
    if (this.about !== about) return; // another tour came meanwhile
    this.runs.forEach((run, number) => { run.picture = known[number]; });
    this.scrubber.max = about.count - 1;
    this.resize();
    this.root.dataset.ready = about.version;
  }

  build() {
    const screens = this.find(".screens"), strips = this.find(".strips");
    screens.replaceChildren(...this.runs.map((run) => {
      const screen = make("figure", "screen");
      run.screen = screen.appendChild(make("canvas"));
      run.screen.setAttribute("role", "img");
      run.said = screen.appendChild(make("div", "said"));
      return screen;
    }));
    strips.replaceChildren(...this.runs.filter((run) => run.metered).map((run) => {
      const strip = make("figure", "strip");
      run.strip = strip.appendChild(make("canvas"));
      run.strip.setAttribute("role", "img");
      run.strip.setAttribute("aria-label", run.sentence);
      run.strip.onpointerdown = run.strip.onpointermove = (event) => this.point(event, run.strip);
      run.strip.onpointerup = () => this.settle();
      strip.appendChild(make("figcaption")).textContent = run.caption;
      return strip;
    }));
  }

  // Pictures are enlarged by whole factors, as far as the page has room.
  resize() {
    const wide = this.root.clientWidth, ratio = Math.ceil(window.devicePixelRatio || 1);
    const room = this.runs.length > 1 ? Math.min(224, (wide - 16) / 2) : Math.min(280, wide);
    for (const run of this.runs) {
      const factor = Math.max(1, Math.floor((room - 2) / run.width));
      run.screen.width = run.width * factor * ratio;
      run.screen.height = run.height * factor * ratio;
      run.screen.style.width = `${run.width * factor}px`;
    }
    this.show(this.frame);
  }

  show(frame) {
    this.frame = frame;
    const { about } = this, leg = about.names[about.legs[frame]] + (about.moving[frame] ? "" : ", held");
    const number = about.numbers[frame], last = about.numbers.at(-1);
    for (const run of this.runs) {
      if (run.picture) drawFrame(run, frame);
      tell(run, about, frame);
      run.screen.setAttribute("aria-label", `Frame ${number} of ${run.name}, ${leg}`);
      if (run.metered) drawStrip(run.strip, run, about, frame);
    }
    this.scrubber.value = frame;
    this.scrubber.setAttribute("aria-valuetext", `frame ${number} of ${last}, ${leg}`);
    this.find(".where").textContent = `${number} of ${last} · ${leg}`;
  }

  point(event, strip) {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = strip.getBoundingClientRect(), place = (event.clientX - box.left) / box.width;
    this.pause();
    this.show(Math.min(this.about.count - 1, Math.max(0, Math.floor(place * this.about.count))));
  }

  toggle() {
    this.moved = true;
    if (this.timer) { this.pause(); this.settle(); return; }
    const began = performance.now() - (this.frame * 1000) / this.about.pace;
    const tick = (now) => {
      const due = Math.floor(((now - began) * this.about.pace) / 1000);
      const frame = Math.max(0, due) % this.about.count;
      if (frame !== this.frame) this.show(frame);
      this.timer = requestAnimationFrame(tick);
    };
    this.timer = requestAnimationFrame(tick);
    this.label("❚❚", "Pause"); // as in the replay of the map: many fonts lack U+23F8
  }

  pause() {
    if (!this.timer) return;
    cancelAnimationFrame(this.timer);
    this.timer = 0;
    this.label("▶", "Play");
  }

  label(sign, word) {
    this.find(".play").textContent = sign;
    this.find(".play").setAttribute("aria-label", word);
  }

  settle() {
    this.moved = true;
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.root.isConnected && this.send(this.frame), PATIENCE);
  }

  close() {
    this.pause();
    this.watch.disconnect();
    delete this.root.film;
  }
}

function make(tag, name = "") {
  const element = document.createElement(tag);
  element.className = name;
  return element;
}

// Classes of a frame, most probable first: what it reads as, as Python says, before those that rounding made equal.
function ranked({ probabilities, reads }, frame, classes) {
  const row = probabilities.subarray(frame * classes, (frame + 1) * classes), others = [...row.keys()];
  return others.sort((a, b) => (b === reads[frame]) - (a === reads[frame]) || row[b] - row[a]);
}

function drawFrame({ screen, picture, width, height, columns }, frame) {
  const pen = screen.getContext("2d");
  pen.imageSmoothingEnabled = false;
  const left = (frame % columns) * width, top = Math.floor(frame / columns) * height;
  pen.drawImage(picture, left, top, width, height, 0, 0, screen.width, screen.height);
}

// What the meter says of this frame, in words and bars.
function tell(run, about, frame) {
  const lines = [], title = make("p", "name");
  title.textContent = run.name;
  if (run.probabilities) {
    const best = ranked(run, frame, about.classes.length).slice(0, 3), said = make("p", "reads");
    const ends = [...new Set(about.ends[about.legs[frame]])].map((c) => about.classes[c]);
    const instead = ends.length > 1 ? `: neither ${ends.join(" nor ")}` : `, not ${ends[0]}`;
    said.textContent = `Reads as ${about.classes[best[0]]}${run.off[frame] ? instead : ""}`;
    const share = (c) => run.probabilities[frame * about.classes.length + c] / 255;
    lines.push(said, ...best.filter((c) => share(c) >= 0.01).map((c) => bar(about, c, share(c))));
  }
  const told = [], count = run.neighbours[frame];
  if (run.neighbours.length) told.push(`${count} real image${count === 1 ? "" : "s"} near`);
  if (run.metered) told.push(`Jump ${run.jumps[frame].toFixed(1)} grey levels`);
  for (const words of told) {
    lines.push(make("p"));
    lines.at(-1).textContent = words;
  }
  run.said.replaceChildren(title, ...lines);
}

function bar(about, c, share) {
  const row = make("div", "bar"), name = make("span"), ink = make("i"), value = make("span");
  name.textContent = about.classes[c];
  ink.style.width = `${100 * share}%`;
  ink.style.background = about.colours[c % about.colours.length];
  value.textContent = `${Math.round(100 * share)}%`;
  row.append(name, ink, value);
  return row;
}
