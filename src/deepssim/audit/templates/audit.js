"use strict";
const field = name => document.getElementById(name);
const list = field("pairs"), pairs = [...list.children];
document.documentElement.classList.add("js");

// Filter and sort
const down = name => (a, b) => b.dataset[name] - a.dataset[name];
const rank = pair => Number(pair.id.slice("pair-".length));
const order = { rank: (a, b) => rank(a) - rank(b), score: down("score"), keypoints: down("keypoints"), ssim: down("ssim"), name: (a, b) => a.dataset.name.localeCompare(b.dataset.name) };
function least() {  // a decimal comma is as good as a point; what is not a number is said and filters nothing
  const box = field("least"), text = box.value.trim(), number = Number(text.replace(",", "."));
  box.setAttribute("aria-invalid", Number.isNaN(number));
  return text && !Number.isNaN(number) ? number : -Infinity;
}
function show() {
  const text = field("text").value.toLowerCase(), kind = field("kind").value, lowest = least();
  for (const pair of pairs) {
    const data = pair.dataset, near = kind === "borderline" && data.borderline === "1";
    pair.hidden = !(data.text.toLowerCase().includes(text) && (kind === "" || data.kind === kind || near) && Number(data.score) >= lowest);
  }
  pairs.sort(order[field("sort").value]).forEach(pair => list.append(pair));
  const shown = pairs.filter(pair => !pair.hidden).length, invalid = field("least").getAttribute("aria-invalid") === "true";
  field("count").textContent = `${shown} of ${pairs.length} pairs${invalid ? "; the minimum score is not a number" : ""}`;
}
for (const name of ["text", "kind", "least", "sort"]) for (const kind of ["input", "change"]) field(name).addEventListener(kind, show);
field("lines")?.addEventListener("click", event => {
  const hidden = document.body.classList.toggle("without-lines");
  event.target.setAttribute("aria-pressed", !hidden);
  event.target.textContent = hidden ? "hidden" : "shown";
});

// One pair: slider and blinking
for (const pair of pairs) {
  const overlay = pair.querySelector(".overlay"), blink = pair.querySelector(".blink"), base = new Image();
  base.src = pair.querySelector(".real").src;
  base.alt = "";  // the training image has its text beside
  base.className = "base";
  overlay.prepend(base);
  pair.querySelector(".slider").addEventListener("input", event => overlay.style.setProperty("--at", `${event.target.value}%`));
  pair.querySelector(".enlarge").addEventListener("click", () => enlarge(pair));
  pair.querySelector(".both").addEventListener("click", () => { if (!viewer.open) enlarge(pair); });
  let timer = 0;
  blink.addEventListener("click", () => {
    clearInterval(timer);
    timer = timer ? 0 : setInterval(() => overlay.classList.toggle("off"), 500);  // well below three flashes per second
    overlay.classList.remove("off");
    overlay.classList.toggle("blinks", timer !== 0);
    blink.setAttribute("aria-pressed", timer !== 0);
  });
}

// One pair at a time, in a dialog: the pair itself moves there and back, so that its controls keep working
const viewer = field("viewer"), stage = field("stage"), place = document.createComment("");
let current = null;
function putBack() {
  if (!current) return;
  current.querySelector(".wide").removeAttribute("tabindex");
  place.replaceWith(current);
  current = null;
}
function enlarge(pair) {
  putBack();
  pair.before(place);
  stage.replaceChildren(pair);
  current = pair;
  pair.querySelector(".wide").tabIndex = 0;  // what scrolls must be within reach of the keyboard
  const real = pair.querySelector(".real"), part = parseFloat(real.style.width) / 100;
  stage.style.setProperty("--full", `${Math.ceil(real.naturalWidth / part)}px`);  // full resolution, or more where there is room
  const visible = pairs.filter(one => !one.hidden), number = visible.indexOf(pair);
  field("place").textContent = `${number + 1} of ${visible.length}: ${pair.querySelector("h3").textContent}`;
  field("previous").disabled = number === 0;
  field("next").disabled = number === visible.length - 1;
  if (!viewer.open) viewer.showModal();
  viewer.scrollTop = 0;
}
function step(by) {
  const visible = pairs.filter(one => !one.hidden), pair = visible[visible.indexOf(current) + by];
  if (pair) enlarge(pair);
}
field("previous").addEventListener("click", () => step(-1));
field("next").addEventListener("click", () => step(1));
field("close").addEventListener("click", () => viewer.close());
viewer.addEventListener("close", () => {
  const pair = current;
  putBack();
  if (pair) pair.focus();
});
const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
viewer.addEventListener("keydown", event => {
  const own = event.target.type === "range" || event.target.scrollWidth > event.target.clientWidth;  // a slider and what scrolls have arrow keys of their own
  if (own || !["ArrowRight", "ArrowLeft"].includes(event.key)) return;
  step(steps[event.key]);
  event.preventDefault();
});
list.addEventListener("keydown", event => {
  if (!event.target.classList.contains("pair")) return;
  if (event.key === "Enter") enlarge(event.target);
  else if (steps[event.key]) {
    const visible = pairs.filter(pair => !pair.hidden), next = visible[visible.indexOf(event.target) + steps[event.key]];
    if (!next) return;
    next.focus();
  } else return;
  event.preventDefault();
});
for (const link of document.querySelectorAll(".six a")) link.addEventListener("click", event => {
  event.preventDefault();
  const pair = field(link.hash.slice(1));
  if (pair.hidden) pair.hidden = false;
  enlarge(pair);
});

// The table of subjects
for (const [column, head] of [...document.querySelectorAll("#subjects th[aria-sort]")].entries()) head.firstChild.addEventListener("click", () => {
  const body = document.querySelector("#subjects tbody"), falling = head.getAttribute("aria-sort") !== "descending";
  const cell = row => row.cells[column].textContent;
  const rows = [...body.rows].sort((a, b) => (column ? cell(a) - cell(b) : cell(a).localeCompare(cell(b))) * (falling ? -1 : 1));
  document.querySelectorAll("#subjects th[aria-sort]").forEach(other => other.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  body.append(...rows);
});

// Paper shows what is folded away
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach(part => { part.open = true; });
});
addEventListener("afterprint", () => folded.forEach(part => { part.open = false; }));
show();
