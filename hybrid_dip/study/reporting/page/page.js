"use strict";
// What the page does: tables that sort, and for each task a viewer of its pictures and curves.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#8a63d2"];
const DASHES = ["", "6 3", "2 3", "8 3 2 3"];
const GAIN = 4; // of a difference map: a grey level of error is four of brightness

function sortable(table) {
  table.querySelectorAll("th button").forEach((button) => {
    button.addEventListener("click", () => {
      const head = button.parentElement;
      const down = head.getAttribute("aria-sort") !== "descending";
      const column = [...head.parentElement.children].indexOf(head);
      const key = (row) => {
        const cell = row.children[column];
        return cell.dataset.value === undefined ? cell.textContent : cell.dataset.value === "" ? -Infinity : Number(cell.dataset.value);
      };
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [first, second] = [key(a), key(b)];
        const order = typeof first === "string" ? first.localeCompare(second) : first - second;
        return down ? -order : order;
      });
      head.parentElement.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      table.tBodies[0].append(...rows);
    });
  });
}

function picture(source) {
  return new Promise((resolve) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.src = source;
  });
}

async function paint(canvas, shown, clean) {
  const image = await picture(shown.src);
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  if (!clean) return;
  const truth = document.createElement("canvas");
  [truth.width, truth.height] = [image.width, image.height];
  const other = truth.getContext("2d", { willReadFrequently: true });
  other.imageSmoothingEnabled = false; // a smaller observation is enlarged pixel by pixel
  other.drawImage(await picture(clean.src), 0, 0, image.width, image.height);
  const [x, y] = [context, other].map((one) => one.getImageData(0, 0, image.width, image.height));
  for (let i = 0; i < x.data.length; i++) {
    if (i % 4 !== 3) x.data[i] = Math.min(255, GAIN * Math.abs(x.data[i] - y.data[i]));
  }
  context.putImageData(x, 0, 0);
}

async function pictured(shown, clean) {
  const figure = document.createElement("figure");
  const frame = document.createElement("div");
  frame.className = "frame";
  const canvas = document.createElement("canvas");
  await paint(canvas, shown, clean);
  frame.append(canvas);
  const caption = document.createElement("figcaption");
  caption.textContent = `${shown.arm} ${shown.caption}`;
  figure.append(frame, caption);
  return figure;
}

function svg(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const places = [];
  for (let at = Math.ceil(low / step) * step; at <= high + 1e-9; at += step) places.push(Number(at.toPrecision(6)));
  return places;
}

function drawCurves(place, curves, arms) {
  place.replaceChildren();
  const known = arms.filter((arm) => curves[arm]);
  if (!known.length) return;
  const [width, height, left, bottom] = [640, 320, 44, 34];
  const all = known.flatMap((arm) => curves[arm].psnr);
  const [low, high] = [Math.min(...all), Math.max(...all) + 0.2];
  const last = Math.max(1, ...known.flatMap((arm) => curves[arm].steps));
  const x = (step) => left + ((width - left - 8) * step) / last;
  const y = (psnr) => 8 + (height - bottom - 8) * (1 - (psnr - low) / Math.max(1e-6, high - low));
  const plot = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "PSNR against the step" });
  for (const at of ticks(low, high, 6)) {
    plot.append(svg("line", { class: "axis", x1: left, x2: width - 8, y1: y(at), y2: y(at) }));
    plot.append(svg("text", { x: left - 5, y: y(at) + 4, "text-anchor": "end" }, at));
  }
  for (const at of ticks(0, last, 6)) plot.append(svg("text", { x: x(at), y: height - 16, "text-anchor": "middle" }, at));
  plot.append(svg("text", { x: width / 2, y: height - 2, "text-anchor": "middle" }, "step"));
  plot.append(svg("text", { x: 4, y: 10 }, "dB"));
  const legend = document.createElement("div");
  legend.className = "legend";
  for (const arm of known) {
    const { steps, psnr, kept } = curves[arm];
    const index = arms.indexOf(arm);
    const [colour, dash] = [COLOURS[index % COLOURS.length], DASHES[Math.floor(index / COLOURS.length) % DASHES.length]];
    const points = steps.map((step, i) => `${x(step).toFixed(1)},${y(psnr[i]).toFixed(1)}`).join(" ");
    plot.append(svg("polyline", { points, fill: "none", stroke: colour, "stroke-width": 1.6, "stroke-dasharray": dash }));
    const near = steps.reduce((best, step, i) => (Math.abs(step - kept) < Math.abs(steps[best] - kept) ? i : best), 0);
    const dot = svg("circle", { cx: x(steps[near]), cy: y(psnr[near]), r: 4.5, fill: colour });
    dot.append(svg("title", {}, `${arm}: step ${kept} was kept`));
    plot.append(dot);
    const entry = document.createElement("span");
    const line = document.createElement("i");
    line.style.borderColor = colour;
    line.style.borderTopStyle = dash ? "dashed" : "solid";
    entry.append(line, arm);
    legend.append(entry);
  }
  place.append(plot, legend);
}

function viewer(root, task, arms) {
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const [imageChoice, leftChoice, rightChoice, modeChoice] = ["image", "left", "right", "mode"].map(part);
  const divided = part("divided");
  const [over, bar] = [part("over"), part("bar")];
  const view = { scale: 1, x: 0, y: 0 }; // x, y: shift as a share of the frame's width and height
  let shown;

  const fill = (select, names, wanted) => {
    select.replaceChildren(...names.map((name) => new Option(name, name, false, name === wanted)));
  };

  function place() {
    root.classList.toggle("zoomed", view.scale > 1);
    root.querySelectorAll("canvas").forEach((canvas) => {
      canvas.style.transform = `translate(${100 * view.x}%, ${100 * view.y}%) scale(${view.scale})`;
    });
  }

  function zoom(factor, atX, atY) {
    const scale = Math.min(16, Math.max(1, view.scale * factor));
    const change = scale / view.scale;
    view.x = atX - (atX - view.x) * change;
    view.y = atY - (atY - view.y) * change;
    view.scale = scale;
    keepInside();
  }

  function keepInside() {
    view.x = Math.min(0, Math.max(1 - view.scale, view.x));
    view.y = Math.min(0, Math.max(1 - view.scale, view.y));
    place();
  }

  function divide(share) {
    const at = Math.min(1, Math.max(0, share));
    over.style.clipPath = `inset(0 0 0 ${100 * at}%)`;
    bar.style.left = `${100 * at}%`;
    bar.setAttribute("aria-valuenow", Math.round(100 * at));
  }

  async function redraw() {
    const pictures = shown.pictures;
    const clean = modeChoice.value === "difference" ? pictures.find((one) => one.arm === "clean") : undefined;
    const byName = (name) => pictures.find((one) => one.arm === name);
    const [left, right] = [byName(leftChoice.value), byName(rightChoice.value)];
    part("left-tag").textContent = `${left.arm} ${left.caption}`;
    part("right-tag").textContent = `${right.arm} ${right.caption}`;
    await Promise.all([paint(part("left-canvas"), left, clean), paint(part("right-canvas"), right, clean)]);
    const strip = part("strip");
    const figures = await Promise.all(pictures.map((one) => pictured(one, clean)));
    strip.replaceChildren(...figures);
    const maps = await Promise.all(shown.maps.map((one) => pictured(one)));
    part("maps").replaceChildren(...maps);
    part("maps-title").hidden = !maps.length;
    place();
    root.dataset.ready = shown.name;
  }

  function choose() {
    shown = task.images.find((one) => one.name === imageChoice.value);
    const names = shown.pictures.map((one) => one.arm);
    const keep = (select, otherwise) => (names.includes(select.value) ? select.value : otherwise);
    fill(leftChoice, names, keep(leftChoice, names[0]));
    fill(rightChoice, names, keep(rightChoice, names.filter((name) => name !== "clean").at(-1)));
    modeChoice.disabled = !names.includes("clean");
    drawCurves(part("curves"), shown.curves, arms);
    return redraw();
  }

  imageChoice.addEventListener("change", choose);
  [leftChoice, rightChoice, modeChoice].forEach((select) => select.addEventListener("change", redraw));
  part("closer").addEventListener("click", () => zoom(2, 0.5, 0.5));
  part("whole").addEventListener("click", () => zoom(1e-9, 0.5, 0.5));

  const share = (event) => {
    const box = divided.getBoundingClientRect();
    return (event.clientX - box.left) / box.width;
  };
  bar.addEventListener("pointerdown", (event) => {
    bar.setPointerCapture(event.pointerId);
    event.stopPropagation();
    event.preventDefault();
  });
  bar.addEventListener("pointermove", (event) => {
    if (bar.hasPointerCapture(event.pointerId)) divide(share(event));
  });
  bar.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -0.05, ArrowRight: 0.05 }[event.key];
    if (by !== undefined) divide(Number(bar.getAttribute("aria-valuenow")) / 100 + by);
  });

  let dragged;
  root.addEventListener("wheel", (event) => {
    const frame = event.target.closest(".frame");
    if (!frame || !event.ctrlKey && view.scale === 1 && event.deltaY > 0) return;
    const box = frame.getBoundingClientRect();
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }, { passive: false });
  root.addEventListener("pointerdown", (event) => {
    const frame = event.target.closest(".frame");
    if (frame && view.scale > 1) dragged = { frame, x: event.clientX, y: event.clientY };
  });
  root.addEventListener("pointermove", (event) => {
    if (!dragged) return;
    const box = dragged.frame.getBoundingClientRect();
    view.x += (event.clientX - dragged.x) / box.width;
    view.y += (event.clientY - dragged.y) / box.height;
    [dragged.x, dragged.y] = [event.clientX, event.clientY];
    keepInside();
  });
  ["pointerup", "pointercancel", "pointerleave"].forEach((name) => root.addEventListener(name, () => (dragged = undefined)));

  fill(imageChoice, task.images.map((one) => one.name), task.images[0].name);
  divide(0.5);
  choose();
}

const data = JSON.parse(document.getElementById("data").textContent);
document.querySelectorAll("table").forEach(sortable);
document.querySelectorAll(".task-viewer").forEach((root) => viewer(root, data.tasks[Number(root.dataset.task)], data.arms));
