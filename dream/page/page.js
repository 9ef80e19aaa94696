// What Gradio's page lacks: keys, names for those who do not see it, and the queue in words.

// Enter presses the button of the open tab, Escape stops; but not the Escape that closes a list, or a
// picture that fills the screen: seen before they see it.
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

// What stood in a tab when its button was pressed: it stands again where nothing came of it.
const stood = {};
const AS_IT_IS = { __type__: "update" };

// The words and, of a tab that has one, the view as a run begins: the photo on either side.
function beginRun(name, words, many, said, view, photo) {
  stood[name] = { words, said, view, photo };
  return [words, photo ? [photo, photo] : AS_IT_IS].slice(0, many);
}

// The same as it ends: words that held while it ran become what they say of a stop.
function endRun(name, failed, said, ...views) {
  const before = stood[name];
  const stopped = /data-under-way="([^"]*)"/.exec(said)?.[1];
  const after = failed && said === before?.words ? before.said : `<span role="status">${stopped}</span>`;
  const shown = views.map((view) => {
    const nothing = before?.photo && view?.[1]?.url === before.photo.url;
    return nothing ? before.view : AS_IT_IS;
  });
  return [stopped ? after : AS_IT_IS, ...shown];
}

// Another tab has set what to dream of: what is under way makes room for it.
function dreamThis() {
  document.querySelector("#stop")?.click();
  const begin = () => {
    const go = document.querySelector("#go");
    if (go) go.click();
    else setTimeout(begin, 50);
  };
  setTimeout(begin, 50);
}

// The address of the page with a recipe: on the clipboard, or, where a page may not write there (over
// plain http, in some frames), selected in its field for a hand to copy.
async function copyLink(recipe, field) {
  const link = new URL(window.location.href);
  link.search = link.hash = "";
  link.searchParams.set("recipe", recipe);
  const written = navigator.clipboard?.writeText(link.href);
  const isCopied = await written?.then(() => true, () => false);
  const selectWhenShown = () => {
    const shown = document.querySelector(`${field} textarea, ${field} input`);
    if (shown?.value === link.href) shown.select();
    else setTimeout(selectWhenShown, 50);
  };
  if (!isCopied) selectWhenShown();
  const label = isCopied ? "The link is on the clipboard" : "Copy this link to the page with the recipe";
  return { __type__: "update", visible: true, value: link.href, label };
}

// The settings as the browser keeps them once the page is open on the last ones: files by the names of
// their folders and their own, which a server may still have; and the link that they began from.
let settingsAreKept = false;
function keepSettings(names, [before, ...values], pageIsOpen) {
  settingsAreKept ||= pageIsOpen;
  if (!settingsAreKept) return before;
  const kept = values.map((value) => value?.path?.split(/[\\/]/).slice(-2).join("/") ?? value);
  const link = new URLSearchParams(location.search).get("recipe");
  return { link, ...Object.fromEntries(names.map((name, place) => [name, kept[place]])) };
}

// The camera's button, by what it does now: "start recording" or "stop recording".
function cameraButton(does) {
  return document.querySelector(`#camera [title="${does}"]`)?.closest("button");
}

function stopCamera() {
  cameraButton("stop recording")?.click();
}

// The dream alone, as large as the screen; as the window where a page may not fill the screen, as on
// iPhones and in some frames. Escape leaves it, and a button does.
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

// A camera is seen as in a mirror, unless it looks away from its visitor. What it sends never is
// mirrored: neither photos nor what is kept of a live dream.
document.addEventListener(
  "loadedmetadata",
  ({ target }) => {
    if (!target.srcObject) return;
    const facing = target.srcObject.getVideoTracks()[0]?.getSettings().facingMode;
    for (const seen of target.closest("#camera") ? [target, document.body] : [target])
      seen.toggleAttribute("data-mirrored", facing !== "environment");
  },
  true,
);

// On a wall, at ?wall, nothing need be pressed: it begins by itself, and again when it has ended.
if (new URLSearchParams(location.search).has("wall")) {
  setInterval(() => {
    document.body.classList.add("wall");
    const tab = [...document.querySelectorAll("[role=tab]")].find((each) => each.textContent.trim() === "Live");
    if (tab?.ariaSelected === "false") tab.click();
    document.querySelector("#camera [title='grant webcam access'] button")?.click();
    cameraButton("start recording")?.click();
  }, 1000);
}

// A picture without words is called by its file: "dream coffee inception4c i5 seed0".
function nameOf(image) {
  if (!image.src.startsWith("http")) return "";
  let file = new URL(image.src).pathname.split("/").pop();
  try {
    file = decodeURIComponent(file);
  } catch {} // A stray % stays.
  return file.replace(/\.\w+$/, "").replace(/[-_+]+/g, " ");
}

function namePictures() {
  for (const image of document.querySelectorAll("img")) {
    if (image.alt && image.alt !== image.dataset.named) continue;
    const name = nameOf(image);
    if (image.alt !== name) image.alt = image.dataset.named = name;
  }
}

// A button that shows words is called by them, not "Thumbnail 3 of 9".
function nameButtons() {
  for (const button of document.querySelectorAll("button[aria-label]")) {
    const words = button.textContent.replace(/\s+/g, " ").trim();
    if (words && !button.ariaLabel.includes(words)) button.ariaLabel = words;
  }
}

// The line between before and after is moved by the arrow keys too: as if it were dragged.
function slideByKeys() {
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
    line.ariaLabel = "The line between before and after";
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

// Gradio's "queue: 2/3 | 1.0/6.1s" as "3 dreams before yours, about 6 s.": beside those in its line
// there are one at work and one whose turn is next.
function tellQueue() {
  for (const tracker of document.querySelectorAll(".status > [data-testid=status-tracker]")) {
    const words = tracker.parentElement.querySelector("[role=status]");
    const place = /queue: (\d+)\/\d+\s*\|\s*([\d.]+)(?:\/([\d.]+))?s/.exec(tracker.textContent);
    if (!words) continue;
    if (place) {
      const [, before, waited, whole] = place;
      const left = Math.ceil(whole - waited);
      const said = `${Number(before) + 1} dreams before yours`;
      words.dataset.own ??= words.textContent;
      const told = left > 0 ? `${said}, about ${left} s.` : `${said}.`;
      if (words.textContent !== told) words.textContent = told;
    } else if (words.dataset.own !== undefined) {
      words.textContent = words.dataset.own;
      delete words.dataset.own;
    }
  }
}

let due = false;
new MutationObserver(() => {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    namePictures();
    nameButtons();
    slideByKeys();
    tellQueue();
  });
}).observe(document.documentElement, {
  attributeFilter: ["alt", "src", "aria-label"],
  characterData: true,
  childList: true,
  subtree: true,
});
