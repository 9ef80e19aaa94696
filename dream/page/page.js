// Additions to Gradio's page: keyboard control, accessible names, and the queue status in words.

// Enter presses the main button of the open tab and Escape its Stop button. This runs in the capture
// phase, to ignore an Escape that closes a list or leaves full screen.
document.addEventListener(
  "keydown",
  (event) => {
    if (event.target.closest("input, textarea, button, a, [role=slider]") && event.key !== "Escape")
      return;
    if (event.target.matches("[aria-expanded=true]") || document.fullscreenElement) return;
    if (event.key === "Escape" && document.body.matches(".filled")) return leaveScreen();
    const buttons = document.querySelectorAll({ Enter: ".go", Escape: ".stop" }[event.key] || "none");
    [...buttons].find((button) => button.offsetParent)?.click();
  },
  true,
);

// The runs of a tab (see `RunButtons` in `run.py`): `name`, the status while it is `waiting`, and how many
// `others` (buttons besides Go and Stop) and `shown` outputs (status, view) the page sets.
// Status and view before a run are saved, to restore if the run produces nothing.
const savedOutputs = {};
const UNCHANGED = update({});

function update(changes) {
  return { __type__: "update", ...changes };
}

function runButtons({ others }, isBusy) {
  const goAndStop = [update({ visible: !isBusy }), update({ visible: isBusy, interactive: true })];
  return [...goAndStop, ...Array(others).fill(update({ interactive: !isBusy }))];
}

// As a run begins: the buttons, the id of this press, the status and the photo on both sides of the view.
function beginRun(run, status, view, photo) {
  showResult();
  savedOutputs[run.name] = { status, view, photo };
  const shown = [run.waiting, photo ? [photo, photo] : UNCHANGED].slice(0, run.shown);
  return [...runButtons(run, true), String(Math.random()), ...shown];
}

// Scrolls a phone's window to the picture that the run changes; on wide pages it stays in view.
function showResult() {
  const result = [...document.querySelectorAll(".result")].find((each) => each.offsetParent);
  if (matchMedia("(max-width: 768px)").matches) result?.firstElementChild.scrollIntoView({ block: "nearest" });
}

function endRun(run, isOver, failed, ...shown) {
  if (!isOver) return Array(2 + run.others + run.shown).fill(UNCHANGED);
  return [...runButtons(run, false), ...endedOutputs(run, failed, ...shown)];
}

function stopRun(run, press, ...shown) {
  savedOutputs[run.name].isStopped = true;
  return [update({ interactive: false }), press, ...endedOutputs(run, false, ...shown)];
}

// Starts the next of several photos as a run has ended, unless the visitor has stopped. A run that failed
// leaves the `followUp` of the one before.
let lastFollowUp = "";
function nextPhoto(run, isOver, followUp) {
  const isNew = isOver && followUp !== lastFollowUp;
  if (isNew) lastFollowUp = followUp;
  if (isNew && followUp && !savedOutputs[run.name].isStopped) document.querySelector("#next-photo").click();
  return [];
}

// Returns status and view as a run ends: a progress status becomes its text for a stopped run.
function endedOutputs({ name, waiting }, failed, status, ...views) {
  const before = savedOutputs[name];
  const stopped = /data-under-way="([^"]*)"/.exec(status)?.[1];
  const after = failed && before && status === waiting ? before.status : `<span role="status">${stopped}</span>`;
  const shown = views.map((view) => {
    const isPhoto = before?.photo && view?.[1]?.url === before.photo.url;
    return isPhoto ? before.view : UNCHANGED;
  });
  return [stopped ? after : UNCHANGED, ...shown];
}

// Starts the dream that another tab has set up, and stops the current one.
function dreamThis() {
  document.querySelector("#stop")?.click();
  const begin = () => {
    const go = document.querySelector("#go");
    if (go) go.click();
    else setTimeout(begin, 50);
  };
  setTimeout(begin, 50);
}

// Returns the tab that an address opens: the named one, that of a recipe's kind, or the first.
function tabOf(parameters, kinds) {
  const tabs = Object.keys(kinds);
  if (tabs.includes(parameters.get("tab"))) return parameters.get("tab");
  let kind;
  try {
    kind = JSON.parse(parameters.get("recipe"))?.kind;
  } catch {} // The page says why a recipe cannot be used.
  return tabs.find((tab) => kinds[tab].includes(kind)) ?? tabs[0];
}

function openTab(kinds) {
  return update({ selected: tabOf(new URLSearchParams(location.search), kinds) });
}

// Writes the open tab into the address, unless the address opens it anyway. The page of a Space shows this
// one in a frame; its address gets all parameters but those that it added itself, such as "__sign".
function nameTab(kinds) {
  const address = new URL(location.href);
  const parameters = address.searchParams;
  const tab = document.querySelector("[data-tab-id][aria-selected=true]").dataset.tabId;
  parameters.delete("tab");
  if (tabOf(parameters, kinds) !== tab) parameters.set("tab", tab);
  history.replaceState(history.state, "", address);
  if (window.parent === window) return;
  for (const name of [...parameters.keys()].filter((each) => each.startsWith("__"))) parameters.delete(name);
  window.parent.postMessage({ queryString: String(parameters) }, "https://huggingface.co");
}

// Returns the update of the gallery of presets: it marks the one whose values the controls have.
function markPreset(presets, values) {
  const isSet = (preset) => preset.every((value, place) => value === (values[place] ?? ""));
  return update({ selected_index: presets.findIndex(isSet) });
}

// Returns the text of a recipe's layers from the values of all rows of the mixer, in order; "" if all are
// empty. `octaves` has the groups of octaves (0 coarse, 1 fine) that each choice stands for.
function mixText(octaves, values) {
  const groups = [[], []];
  for (let place = 0; place < values.length; place += 3) {
    const [name, weight, choice] = values.slice(place, place + 3);
    const text = [1, null].includes(weight) ? name : `${name}:${Number(weight.toPrecision(6))}`;
    for (const group of name ? octaves[choice] : []) groups[group].push(text);
  }
  const texts = groups.filter((group) => group.length).map(String);
  return [...new Set(texts)].length === 1 ? texts[0] : texts.join(">");
}

// Returns the updates of the layer gallery, which shows no mix, and of the layer.
function mixLayers(octaves, layer, rows) {
  const text = mixText(octaves, rows);
  return text ? [update({ selected_index: -1 }), text] : [UNCHANGED, layer];
}

function downloadFile(file) {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name;
  link.click();
}

// Copies a link to the page with a recipe. Where a page may not write to the clipboard (plain http, some
// frames), the link is selected in its field, to be copied by hand.
async function copyLink(recipe, field) {
  const link = recipeLink(recipe);
  const written = navigator.clipboard?.writeText(link);
  const isCopied = await written?.then(() => true, () => false);
  const selectWhenShown = () => {
    const shown = document.querySelector(`${field} textarea, ${field} input`);
    if (shown?.value === link) shown.select();
    else setTimeout(selectWhenShown, 50);
  };
  if (!isCopied) selectWhenShown();
  const label = isCopied ? "Link copied to the clipboard" : "Copy this link to the page with the recipe";
  return update({ visible: true, value: link, label });
}

function recipeLink(recipe) {
  const link = new URL(window.location.href);
  link.search = link.hash = "";
  link.searchParams.set("recipe", recipe);
  return link.href;
}

// Shows a share of the dream, in per cent, over the photo (see `page.css`), and the Download that fits it.
function blendView(share) {
  document.documentElement.style.setProperty("--blend", share / 100);
  return [update({ visible: share === 100 }), update({ visible: share !== 100 })];
}

// Shares an image with another app: as a file where the device takes files, else as a link to its recipe.
// Returns the status; that of the server stays if there is no file.
async function shareImage(file, recipe) {
  if (!file) return UNCHANGED;
  const words = { title: "Deep Dream", text: "A dream of a neural network" };
  let shared = { ...words, url: recipeLink(recipe) };
  let what = "link";
  try {
    const blob = await (await fetch(file.url)).blob();
    const files = [new File([blob], file.orig_name, { type: "image/png" })];
    if (navigator.canShare?.({ files })) [shared, what] = [{ ...words, files }, "image"];
    await navigator.share(shared);
    return `<span role="status">The ${what} was shared.</span>`;
  } catch (error) {
    const isAborted = error.name === "AbortError";
    const reason = isAborted ? "Nothing was shared." : "This browser did not share it. Download the image instead.";
    return `<span role="status">${reason}</span>`;
  }
}

// Returns the settings for the browser to store, once the page has restored the last ones: files as
// "folder/name", which the server may still have, and the recipe link that the page was opened with.
let settingsAreKept = false;
function keepSettings(names, [before, ...values], pageIsOpen) {
  settingsAreKept ||= pageIsOpen;
  if (!settingsAreKept) return before;
  const kept = values.map((value) => value?.path?.split(/[\\/]/).slice(-2).join("/") ?? value);
  const link = new URLSearchParams(location.search).get("recipe");
  return { link, ...Object.fromEntries(names.map((name, place) => [name, kept[place]])) };
}

// Returns the camera's button by its current action: "start recording" or "stop recording".
function cameraButton(does) {
  return document.querySelector(`#camera [title="${does}"]`)?.closest("button");
}

function stopCamera() {
  cameraButton("stop recording")?.click();
}

// Shows the dream in full screen, or in the full window where full screen is not allowed (iPhones, some
// frames). Escape or a button leaves it.
function fillScreen() {
  document.body.classList.add("wall", "filled");
  document.documentElement.requestFullscreen?.().catch(() => {});
}

function leaveScreen() {
  document.body.classList.remove("wall", "filled");
  if (document.fullscreenElement) document.exitFullscreen();
}

document.addEventListener("fullscreenchange", () => {
  if (!document.fullscreenElement) leaveScreen();
});

// Mirrors the camera's view unless it is the rear camera. Images sent to the server are not mirrored.
document.addEventListener(
  "loadedmetadata",
  ({ target }) => {
    if (!target.srcObject) return;
    const facing = target.srcObject.getVideoTracks()[0]?.getSettings().facingMode;
    for (const element of target.closest("#camera") ? [target, document.body] : [target])
      element.toggleAttribute("data-mirrored", facing !== "environment");
  },
  true,
);

// At ?wall (an installation), the live dream starts by itself, and again whenever it has ended.
if (new URLSearchParams(location.search).has("wall")) {
  setInterval(() => {
    document.body.classList.add("wall");
    document.querySelector("[data-tab-id=live][aria-selected=false]")?.click();
    document.querySelector("#camera [title='grant webcam access'] button")?.click();
    cameraButton("start recording")?.click();
  }, 1000);
}

// Where the system does not know HEIC or AVIF, a browser gives a file no type, and Gradio refuses it as no
// image. Pass such a file on with its type, from the file dialog and from a drop.
const PHOTO_TYPES = { heic: "image/heic", heif: "image/heif", hif: "image/heif", avif: "image/avif" };

function withTypes(files) {
  const typed = new DataTransfer();
  for (const file of files) {
    const type = file.type || PHOTO_TYPES[file.name.split(".").pop().toLowerCase()] || "";
    typed.items.add(type === file.type ? file : new File([file], file.name, { type }));
  }
  return [...typed.files].some((file, place) => file.type !== files[place].type) ? typed : null;
}

document.addEventListener(
  "change",
  ({ target }) => {
    const typed = target.type === "file" && withTypes(target.files);
    if (typed) target.files = typed.files;
  },
  true,
);

document.addEventListener(
  "drop",
  (event) => {
    const { target, dataTransfer } = event;
    const typed = dataTransfer && withTypes(dataTransfer.files);
    if (typed) {
      event.preventDefault();
      event.stopImmediatePropagation();
      target.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: typed }));
    } else if (dataTransfer?.files.length > 1 && target.closest("#photo")) takeSeveralPhotos(dataTransfer.files);
  },
  true,
);

// Takes several photos, dropped on the one photo, which takes the first, to their own section.
function takeSeveralPhotos(files) {
  const dropped = new DataTransfer(); // That of the event is empty after it.
  for (const file of files) dropped.items.add(file);
  const section = document.querySelector("#several");
  if (!section.querySelector("#several-photos")) section.querySelector("button").click();
  const fill = () => {
    const input = section.querySelector("#several-photos input[type=file]");
    if (!input) return setTimeout(fill, 50);
    input.files = dropped.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    section.scrollIntoView({ block: "center" });
  };
  fill();
}

// Returns an alt text from an image's file name: "dream coffee inception4c i5 seed0".
function nameOf(image) {
  if (!image.src.startsWith("http")) return "";
  let file = new URL(image.src).pathname.split("/").pop();
  try {
    file = decodeURIComponent(file);
  } catch {} // Keep a stray %.
  return file.replace(/\.\w+$/, "").replace(/[-_+]+/g, " ");
}

function setAltTexts() {
  for (const image of document.querySelectorAll("img")) {
    if (image.alt && image.alt !== image.dataset.named) continue;
    const name = nameOf(image);
    if (image.alt !== name) image.alt = image.dataset.named = name;
  }
}

// Labels a button by its visible text, not "Thumbnail 3 of 9", and says which of several is chosen.
function setButtonLabels() {
  for (const button of document.querySelectorAll("button[aria-label]")) {
    const words = button.textContent.replace(/\s+/g, " ").trim();
    if (words && !button.ariaLabel.includes(words)) button.ariaLabel = words;
    if (button.closest(".choices")) button.ariaPressed = button.matches(".selected");
  }
}

// Lets the arrow keys move the divider between before and after, by mouse events as if it were dragged.
function addDividerKeys() {
  for (const line of document.querySelectorAll("[data-testid=slider][role=none]")) {
    const place = (moved = 0) => {
      const [box, whole] = [line, line.parentElement].map((each) => each.getBoundingClientRect());
      const x = box.x + box.width / 2;
      const to = Math.min(Math.max(x + moved * whole.width, whole.left), whole.right);
      line.ariaValueNow = Math.round((100 * (to - whole.x)) / whole.width) || 0;
      return [x, to, box.y + box.height / 2];
    };
    line.role = "slider";
    line.tabIndex = 0;
    line.ariaLabel = "Divider between before and after";
    place();
    line.addEventListener("focus", () => place());
    line.addEventListener("keydown", (event) => {
      const moved = { ArrowLeft: -0.05, ArrowRight: 0.05 }[event.key];
      if (!moved) return;
      event.preventDefault();
      const [from, to, clientY] = place(moved);
      const drag = (target, type, clientX) =>
        target.dispatchEvent(new MouseEvent(type, { bubbles: true, view: window, clientX, clientY }));
      drag(line, "mousedown", from);
      drag(window, "mousemove", to);
      drag(window, "mouseup", to);
    });
  }
}

// Shows Gradio's "queue: 2/3 | 1.0/6.1s" as "3 dreams before yours, about 6 s.": besides the queued
// jobs before it, one job is running and one is next.
function showQueueStatus() {
  for (const tracker of document.querySelectorAll(".status > [data-testid=status-tracker]")) {
    const words = tracker.parentElement.querySelector("[role=status]");
    const place = /queue: (\d+)\/\d+\s*\|\s*([\d.]+)(?:\/([\d.]+))?s/.exec(tracker.textContent);
    if (!words) continue;
    if (place) {
      const [, before, waited, whole] = place;
      const left = Math.ceil(whole - waited);
      const position = `${Number(before) + 1} dreams before yours`;
      words.dataset.own ??= words.textContent;
      const text = left > 0 ? `${position}, about ${left} s.` : `${position}.`;
      if (words.textContent !== text) words.textContent = text;
    } else if (words.dataset.own !== undefined) {
      words.textContent = words.dataset.own;
      delete words.dataset.own;
    }
  }
}

// Keeps the bar at the foot of a phone's window above the on-screen keyboard.
function liftBar() {
  const { height, offsetTop, scale } = window.visualViewport;
  const covered = scale > 1 ? 0 : Math.max(0, window.innerHeight - height - offsetTop);
  document.documentElement.style.setProperty("--keyboard", `${covered}px`);
}
for (const event of ["resize", "scroll"]) window.visualViewport?.addEventListener(event, liftBar);

const resultHeights = new ResizeObserver((entries) => {
  for (const { target } of entries) target.style.setProperty("--height", `${target.offsetHeight}px`);
});

let due = false;
new MutationObserver(() => {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    setAltTexts();
    setButtonLabels();
    addDividerKeys();
    showQueueStatus();
    for (const result of document.querySelectorAll(".result")) resultHeights.observe(result);
    // In a frame as high as the page (iframe-resizer, as on Spaces), nothing can stay in the window.
    document.body.classList.toggle("resized", "parentIFrame" in window);
  });
}).observe(document.documentElement, {
  attributeFilter: ["alt", "src", "aria-label", "class"],
  characterData: true,
  childList: true,
  subtree: true,
});
