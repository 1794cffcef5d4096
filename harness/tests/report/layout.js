// Appended to a copy of report.html: finds what lies outside the window, and which texts of a plot collide.
const wide = document.documentElement.clientWidth;
const found = { width: window.innerWidth, paper: getComputedStyle(document.body).backgroundColor, faults: [] };
const name = (element) => element.tagName + " " + (element.textContent || "").trim().slice(0, 60);
if (document.documentElement.scrollWidth > wide) found.faults.push("the page is wider than the window");
for (const element of document.body.querySelectorAll("*")) {
  // A plot scrolls within its frame, and the header of a narrow table is only for screen readers.
  if (element.closest(".plot *") || element.closest("thead, script")) continue;
  const box = element.getBoundingClientRect();
  if (box.left < -1 || box.right > wide + 1) found.faults.push("outside: " + name(element));
  const flows = getComputedStyle(element).display !== "inline" && !element.matches(".plot");
  if (flows && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0)
    found.faults.push("overflows: " + name(element));
}
for (const svg of document.querySelectorAll("svg")) {
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const texts = [...svg.querySelectorAll("text")].map((text) => ({ text: text.textContent, box: text.getBBox() }));
  texts.forEach(({ text, box }, at) => {
    if (box.x < 0 || box.y < 0 || box.x + box.width > width || box.y + box.height > height)
      found.faults.push("outside of its plot: " + text);
    for (const other of texts.slice(at + 1)) {
      const across = Math.min(box.x + box.width, other.box.x + other.box.width) - Math.max(box.x, other.box.x);
      const down = Math.min(box.y + box.height, other.box.y + other.box.height) - Math.max(box.y, other.box.y);
      // A line of text has space above and below its letters.
      if (across > 1 && down > Math.min(box.height, other.box.height) * 0.45)
        found.faults.push("collide: " + text + " / " + other.text);
    }
  });
}
found.faults = found.faults.slice(0, 20);
console.error("layout was looked at");
const out = parent.document.createElement("pre");
out.id = "found";
out.textContent = "FOUND" + JSON.stringify(found) + "END";
parent.document.body.append(out);
