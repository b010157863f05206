"use strict";
// Photos go to this server as they are. Nothing is kept, and nothing goes anywhere else.
const facts = JSON.parse(document.getElementById("facts").textContent);
const at = (id) => document.getElementById(id);
const AT_A_TIME = 4;
const waiting = [];
let asking = 0;
let count = 0;

function made(tag, text = "", kind = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

const percent = (share) => `${(share * 100).toFixed(1)} %`;
const shown = () => Math.max(1, Math.min(facts.labels, Number(at("top").value) || 1));

function add(files) {
  for (const file of files) {
    const article = made("article", "", "answer");
    const title = made("h3", file.name || "pasted photo");
    title.id = `photo-${(count += 1)}`;
    article.setAttribute("aria-labelledby", title.id);
    const view = made("div", "", "view");
    const image = new Image();
    image.alt = `${title.textContent}, as it was sent`;
    image.onerror = () => image.replaceWith(made("p", "This browser cannot show it.", "soft"));
    image.src = URL.createObjectURL(file);
    view.append(image);
    const told = made("div");
    told.append(title, made("p", "waiting", "soft"));
    article.append(view, told);
    at("answers").prepend(article);
    ask({ file, title, view, image, told });
  }
}

function ask(photo) {
  waiting.push(photo);
  next();
}

async function next() {
  if (asking >= AT_A_TIME || !waiting.length) return;
  asking += 1;
  const photo = waiting.shift();
  try {
    await send(photo);
  } catch (error) {
    refuse(photo, `no answer: ${error.message}`);
  }
  asking -= 1;
  next();
}

async function send(photo) {
  const headers = {
    "Content-Type": photo.file.type || "application/octet-stream",
    Accept: "application/json;verbose",
  };
  if (at("heat").checked) headers["X-Amzn-SageMaker-Custom-Attributes"] = "explain=heatmap";
  const start = performance.now();
  const response = await fetch(`${facts.path}?timing=true`, { method: "POST", body: photo.file, headers });
  const answer = await response.json();
  const spent = performance.now() - start;
  if (!response.ok) return refuse(photo, `HTTP ${response.status}: ${answer.error}`);
  return tell(photo, answer, spent, response.headers.get("Server-Timing") || "");
}

function refuse(photo, why) {
  const again = made("button", "Ask again");
  again.type = "button";
  again.onclick = () => {
    photo.told.replaceChildren(photo.title, made("p", "waiting", "soft"));
    ask(photo);
  };
  photo.told.replaceChildren(photo.title, made("p", why, "refused"), again);
  at("said").textContent = `${photo.title.textContent}: ${why}`;
}

function tell(photo, answer, spent, timing) {
  const given = new Set(answer.predicted_labels || []);
  const order = answer.probabilities.map((share, index) => [share, answer.labels[index]]);
  order.sort((one, other) => other[0] - one[0]);
  const bars = made("ol", "", "bars");
  for (const [share, label] of order.slice(0, shown())) {
    const row = made("li", "", given.has(label) ? "given" : "");
    const bar = made("i");
    bar.style.setProperty("--share", `${share * 100}%`);
    bar.setAttribute("aria-hidden", "true");
    row.append(made("span", label), made("span", percent(share)), bar);
    bars.append(row);
  }
  photo.told.replaceChildren(photo.title, bars, made("p", times(spent, timing), "soft"));
  if (at("heat").checked) photo.told.append(warm(photo, answer));
  at("said").textContent = `${photo.title.textContent}: ${order[0][1]}, ${percent(order[0][0])}`;
}

function times(spent, timing) {
  const parts = [...timing.matchAll(/(\w+);dur=([\d.]+)/g)].map(([, name, value]) => [name, Number(value)]);
  const total = parts.find(([name]) => name === "total");
  const there = `${spent.toFixed(0)} ms there and back`;
  if (!total) return there;
  const stages = parts.filter(([name]) => name !== "total").map(([name, value]) => `${name} ${value.toFixed(1)}`);
  return `${there}, ${total[1].toFixed(1)} of them in the server: ${stages.join(", ")}`;
}

// The network saw the middle of the photo; the grid of 0 to 1 lies over just that.
function warm(photo, answer) {
  photo.view.querySelector("canvas")?.remove();
  const grid = answer.heatmap;
  if (!grid) return made("p", "The engine in use draws no heat map.", "soft");
  const canvas = document.createElement("canvas");
  canvas.height = grid.length;
  canvas.width = grid[0].length;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `heat map for ${answer.predicted_label}`);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  grid.flat().forEach((value, place) => {
    // what matters little stays as clear as the photo
    pixels.data.set([255, 220 - 200 * value, 30, 210 * value ** 1.5], place * 4);
  });
  context.putImageData(pixels, 0, 0);
  const { naturalWidth: width, naturalHeight: height } = photo.image;
  const side = Math.min(width, height) * facts.seen;
  Object.assign(canvas.style, {
    left: `${50 - (side / width) * 50}%`,
    top: `${50 - (side / height) * 50}%`,
    width: `${(side / width) * 100}%`,
    height: `${(side / height) * 100}%`,
  });
  photo.view.append(canvas);
  const about = answer.explanation || {};
  const cost = about.milliseconds === undefined ? "" : ` (${about.method}, ${about.milliseconds} ms)`;
  return made("p", `Red: what speaks for ${about.label || answer.predicted_label}${cost}.`, "soft");
}

function snippets() {
  const url = new URL(facts.path, location.href).href;
  for (const code of document.querySelectorAll("pre[data-code]")) {
    code.textContent = code.dataset.code.replaceAll("{url}", url).replaceAll("{top_k}", shown());
  }
}

async function copy(button) {
  const code = button.parentElement.querySelector("pre");
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    // without https the clipboard is closed to pages, but not to a selection
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
  }
  at("said").textContent = "copied";
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

async function state() {
  const line = at("state");
  try {
    const response = await fetch("/ping");
    const told = await response.json();
    line.classList.toggle("ready", response.ok);
    line.textContent = response.ok ? `ready: ${told.progress}` : `${told.state}: ${told.reason}`;
  } catch {
    line.classList.remove("ready");
    line.textContent = "the server does not answer";
  }
}

at("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = ""; // the same file may be chosen again
});
document.addEventListener("paste", (event) => add(event.clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", () => document.body.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  add(event.dataTransfer.files);
});
at("clear").addEventListener("click", () => {
  for (const image of at("answers").querySelectorAll("img")) URL.revokeObjectURL(image.src);
  at("answers").replaceChildren();
  at("said").textContent = "cleared";
});
at("top").addEventListener("input", snippets);
for (const button of document.querySelectorAll(".snippet button")) {
  button.addEventListener("click", () => copy(button));
}
snippets();
state();
setInterval(state, 5000);
