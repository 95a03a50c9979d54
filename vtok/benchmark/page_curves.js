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
