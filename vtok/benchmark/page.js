"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
/* Megabytes at the end of the file: the page is complete, and may be painted, before they are there. */
const pictures = new Promise((resolve) =>
  document.addEventListener("DOMContentLoaded", () => resolve(JSON.parse(byId("pictures").textContent))));

/* An element with attributes and children; of SVG if `space` is given. */
function make(name, attributes = {}, children = [], space = null) {
  const element = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/* Radio buttons in `parent`; `choose` is called with the value of the one that was chosen. */
function radios(parent, name, choices, chosen, choose) {
  for (const [value, label] of choices) {
    const input = make("input", { type: "radio", name, value });
    input.checked = value === chosen;
    input.addEventListener("change", () => choose(value));
    parent.append(make("label", {}, [input, label]));
  }
}

const text = (content) => make("span", {}, [content]);

/* ---- curves ---- */
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 960, HEIGHT = 460, LEFT = 64, RIGHT = 16, TOP = 12, BOTTOM = 46;
  const MARKS = ["M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0", "M-4.5-4.5h9v9h-9z", "M0-5.5L5.5 4.5h-11z", "M0-6L6 0 0 6-6 0z"];
  const chart = byId("chart"), readout = byId("chart-readout"), legend = byId("chart-legend");
  const draw = (name, attributes, children = []) => make(name, attributes, children, SVG);
  let scope = 0, measure = data.measures[0].key, marks = [];

  data.codecs.forEach((codec, n) => {
    const sample = draw("svg", { viewBox: "-13 -6 26 12", "aria-hidden": "true" }, [
      draw("line", { x1: -13, x2: 13, y1: 0, y2: 0 }), draw("path", { d: MARKS[n % 4] })]);
    legend.append(make("span", { class: `series-${n % 6}` }, [sample, codec]));
  });

  /* Round numbers from `low` to `high`, about `count` of them. */
  function steps(low, high, count) {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const values = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high * (1 + 1e-12); n++) values.push(n * step);
    return values;
  }
  function logSteps(low, high) {
    const values = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const factor of [1, 2, 5]) values.push(factor * 10 ** power);
    return values.filter((value) => value >= low && value <= high);
  }

  function redraw() {
    const { digits, label, unit } = data.measures.find(({ key }) => key === measure);
    const curves = data.scopes[scope].curves.map((points) => points.filter((point) => point[measure] != null));
    const all = curves.flat();
    chart.replaceChildren();
    marks = [];
    if (!all.length) {
      chart.append(draw("text", { x: WIDTH / 2, y: HEIGHT / 2, "text-anchor": "middle" }, [`no ${label} here`]));
      return;
    }
    const rates = all.map((point) => point.bpp), values = all.map((point) => point[measure]);
    const low = Math.min(...rates) / 1.15, high = Math.max(...rates) * 1.15;
    const room = (Math.max(...values) - Math.min(...values) || 1) * 0.06;
    const bottom = Math.min(...values) - room, top = Math.max(...values) + room;
    const x = (rate) => LEFT + (WIDTH - LEFT - RIGHT) * Math.log(rate / low) / Math.log(high / low);
    const y = (value) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - bottom) / (top - bottom);
    for (const rate of logSteps(low, high)) {
      chart.append(draw("line", { class: "grid", x1: x(rate), x2: x(rate), y1: TOP, y2: HEIGHT - BOTTOM }));
      chart.append(draw("text", { x: x(rate), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, [+rate.toPrecision(1) + ""]));
    }
    const ticks = steps(bottom, top, 6);
    const tickDigits = Math.max(0, -Math.floor(Math.log10(ticks[1] - ticks[0] || 1) + 1e-9));
    for (const value of ticks) {
      chart.append(draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
      chart.append(draw("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, [value.toFixed(tickDigits)]));
    }
    chart.append(draw("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, ["bits per pixel"]));
    const middle = (TOP + HEIGHT - BOTTOM) / 2;
    chart.append(draw("text", { transform: `translate(16 ${middle}) rotate(-90)`, "text-anchor": "middle" },
      [unit ? `${label}, ${unit}` : label]));
    curves.forEach((points, n) => {
      const sorted = [...points].sort((a, b) => a.bpp - b.bpp);
      const line = sorted.map((point) => `${x(point.bpp).toFixed(1)},${y(point[measure]).toFixed(1)}`).join(" ");
      const group = draw("g", { class: `series-${n % 6}` }, [draw("polyline", { class: n ? "curve" : "curve first", points: line })]);
      for (const point of sorted) {
        const at = [x(point.bpp), y(point[measure])];
        const mark = draw("path", { class: "mark", d: MARKS[n % 4], transform: `translate(${at[0].toFixed(1)} ${at[1].toFixed(1)})` });
        const setting = data.codecs[n] === "vtok" ? "quality" : "crf";
        const words = `${data.codecs[n]}, ${setting} ${point.setting}: ${point.bpp.toFixed(4)} bits per pixel, ` +
          `${label} ${point[measure].toFixed(digits)}${unit ? ` ${unit}` : ""}`;
        marks.push({ at, mark, words });
        group.append(mark);
      }
      chart.append(group);
    });
  }

  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const px = (event.clientX - box.left) * WIDTH / box.width, py = (event.clientY - box.top) * HEIGHT / box.height;
    const distance = ({ at }) => Math.hypot(at[0] - px, at[1] - py);
    const nearest = marks.reduce((best, mark) => (!best || distance(mark) < distance(best) ? mark : best), null);
    marks.forEach(({ mark }) => mark.classList.remove("near"));
    if (nearest && distance(nearest) < 60) {
      nearest.mark.classList.add("near");
      readout.textContent = nearest.words;
    }
  });
  data.scopes.forEach(({ name }, n) => byId("chart-scope").append(make("option", { value: n }, [name])));
  byId("chart-scope").addEventListener("change", (event) => { scope = +event.target.value; redraw(); });
  radios(byId("chart-measure"), "measure", data.measures.map(({ key, label }) => [key, text(label)]), measure,
    (key) => { measure = key; redraw(); });
  redraw();
})();

/* ---- frames ---- */
if (data.frames.length) (() => {
  const NAMES = ["original", "vtok", "x264"];
  const stage = byId("stage"), split = byId("split"), crops = byId("crops");
  const sides = { left: 0, right: 1 };
  let frame = null, images = [], maps = [], focus = [0.5, 0.5], loading = 0;

  const unique = (values) => [...new Set(values)];
  const optionsOf = (select, options) => options.forEach(([value, label]) => select.append(make("option", { value }, [label])));
  optionsOf(byId("clip"), [["", "all clips"], ...unique(data.frames.map((each) => each.clip)).map((clip) => [clip, clip])]);
  optionsOf(byId("quality"), unique(data.frames.map((each) => each.quality)).sort((a, b) => a - b).map((q) => [q, q]));

  /* Pixels of a side: for what was coded, on demand, the map of its errors. */
  const shown = (n) => (byId("errors").checked && n ? maps[n - 1] : images[n]);
  const isMap = (n) => byId("errors").checked && n > 0;

  function listFrames() {
    const clip = byId("clip").value, quality = +byId("quality").value;
    const frames = data.frames.filter((each) => each.quality === quality && (!clip || each.clip === clip));
    byId("frames").replaceChildren();
    radios(byId("frames"), "frame", frames.map((each, n) => {
      const numbers = `vtok ${each.psnr[0].toFixed(1)} dB, x264 ${each.psnr[1].toFixed(1)} dB`;
      const title = `${each.clip}, frame ${each.number}`;
      return [n, make("span", {}, [title, make("small", {}, [numbers + (each.isMedian ? "; its median" : "")])])];
    }), 0, (n) => show(frames[n]));
    if (frames.length) show(frames[0]);
  }

  async function load(name) {
    const image = new Image();
    image.src = (await pictures)[name];
    await image.decode();
    return image;
  }

  async function show(next) {
    const turn = ++loading;
    if (!frame) describe(next); // before anything is painted, so that nothing moves
    const loaded = await Promise.all([...next.pictures, ...next.maps].map(load));
    if (turn !== loading) return; // another frame was chosen meanwhile
    frame = next;
    images = loaded.slice(0, 3);
    maps = loaded.slice(3);
    focus = [...frame.focus];
    describe(frame);
    redraw();
    stage.classList.remove("empty");
  }

  function describe({ width, height, clip, number, quality, bpp, psnr, preset, crf, x264Bpp }) {
    byId("looking").style.setProperty("--ratio", width / height);
    byId("caption").textContent =
      `${clip}, frame ${number}. vtok quality ${quality}: ${bpp.toFixed(4)} bits per pixel, ${psnr[0].toFixed(2)} dB. ` +
      `x264 ${preset}, crf ${crf}: ${x264Bpp.toFixed(4)} bits per pixel, ${psnr[1].toFixed(2)} dB.`;
  }

  function redraw() {
    for (const [side, n] of Object.entries(sides)) {
      const picture = byId(`${side}-picture`);
      picture.src = shown(n).src;
      picture.alt = `${side}: ${NAMES[n]}${isMap(n) ? ", errors" : ""}`;
      picture.classList.toggle("map", isMap(n));
      byId(`${side}-name`).textContent = NAMES[n];
    }
    byId("scale").classList.toggle("on", byId("errors").checked);
    redrawCrops();
  }

  function redrawCrops() {
    if (!frame) return;
    const zoom = +byId("zoom").value, canvases = crops.querySelectorAll("canvas");
    const w = Math.min(canvases[0].width / zoom, frame.width), h = Math.min(canvases[0].height / zoom, frame.height);
    const x = Math.min(Math.max(focus[0] * frame.width - w / 2, 0), frame.width - w);
    const y = Math.min(Math.max(focus[1] * frame.height - h / 2, 0), frame.height - h);
    Object.assign(byId("window").style, {
      left: `${100 * x / frame.width}%`, top: `${100 * y / frame.height}%`,
      width: `${100 * w / frame.width}%`, height: `${100 * h / frame.height}%`,
    });
    canvases.forEach((canvas, n) => {
      const pen = canvas.getContext("2d"), image = shown(n);
      const sx = image.naturalWidth / frame.width, sy = image.naturalHeight / frame.height;
      pen.imageSmoothingEnabled = false;
      pen.clearRect(0, 0, canvas.width, canvas.height);
      pen.drawImage(image, x * sx, y * sy, w * sx, h * sy, 0, 0, w * zoom, h * zoom);
      canvas.nextElementSibling.textContent = n ? `${NAMES[n]}, ${frame.psnr[n - 1].toFixed(2)} dB` : NAMES[n];
    });
  }

  function moveSplit() {
    stage.style.setProperty("--split", `${split.value}%`);
    split.setAttribute("aria-valuetext", `${NAMES[sides.left]} up to ${split.value} % of the width, then ${NAMES[sides.right]}`);
  }

  function point(event) {
    const box = stage.getBoundingClientRect();
    focus = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    if (event.buttons) { split.value = 100 * focus[0]; moveSplit(); }
    redrawCrops();
  }

  stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); point(event); });
  stage.addEventListener("pointermove", point);
  split.addEventListener("input", moveSplit);
  crops.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step || !frame) return;
    event.preventDefault();
    focus = focus.map((value, axis) => Math.min(Math.max(value + step[axis] * 0.02, 0), 1));
    redrawCrops();
  });
  for (const id of ["clip", "quality"]) byId(id).addEventListener("change", listFrames);
  byId("errors").addEventListener("change", redraw);
  byId("zoom").addEventListener("change", redrawCrops);
  for (const side of ["left", "right"])
    radios(byId(side), side, NAMES.map((name, n) => [n, text(name)]), sides[side], (n) => { sides[side] = n; moveSplit(); if (frame) redraw(); });
  byId("scale").querySelector("i").style.background = `linear-gradient(to right, ${data.palette.join(", ")})`;
  moveSplit();
  listFrames();
})();
