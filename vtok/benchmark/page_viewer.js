/* ---- frames ---- */
if (data.frames.length) (() => {
  const NAMES = data.names;
  const stage = byId("stage"), split = byId("split"), crops = byId("crops");
  const sides = { left: 0, right: data.right };
  let frame = null, images = [], maps = [], focus = [0.5, 0.5], loading = 0;

  const unique = (values) => [...new Set(values)];
  const optionsOf = (select, options) => options.forEach(([value, label]) => select.append(make("option", { value }, [label])));
  optionsOf(byId("clip"), [["", "all clips"], ...unique(data.frames.map((each) => each.clip)).map((clip) => [clip, clip])]);
  optionsOf(byId("quality"), unique(data.frames.map((each) => each.quality)).sort((a, b) => a - b).map((q) => [q, q]));
  if (data.frames.length === 1) byId("viewer").classList.add("single");
  NAMES.forEach(() => crops.append(make("figure", {}, [make("canvas", { width: 300, height: 240 }), make("figcaption")])));

  /* Pixels of a side: for what was coded, on demand, the map of its errors. */
  const shown = (n) => (byId("errors").checked && n ? maps[n - 1] : images[n]);
  const isMap = (n) => byId("errors").checked && n > 0;

  function listFrames() {
    const clip = byId("clip").value, quality = +byId("quality").value;
    const frames = data.frames.filter((each) => each.quality === quality && (!clip || each.clip === clip));
    byId("frames").replaceChildren();
    radios(byId("frames"), "frame", frames.map((each, n) => {
      const numbers = NAMES.slice(1).map((name, coded) => `${name} ${each.psnr[coded].toFixed(1)} dB`).join(", ");
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
    images = loaded.slice(0, NAMES.length);
    maps = loaded.slice(NAMES.length);
    focus = [...frame.focus];
    describe(frame);
    redraw();
    stage.classList.remove("empty");
  }

  function describe({ width, height, caption }) {
    byId("looking").style.setProperty("--ratio", width / height);
    byId("caption").textContent = caption;
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
