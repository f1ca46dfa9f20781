// Runs inside a report page and tells its frame's parent what a reader would stumble over.
addEventListener("load", () => {
  const faults = [];
  const page = document.documentElement;
  if (page.scrollWidth > innerWidth + 1) {
    const wide = [...document.querySelectorAll("main *, header *")].find((one) => one.getBoundingClientRect().right > innerWidth + 1);
    faults.push(`is ${page.scrollWidth} px wide in a window of ${innerWidth}: ${wide?.outerHTML.slice(0, 120)}`);
  }
  const shown = (one) => one.getClientRects().length > 0 && getComputedStyle(one).visibility !== "hidden";
  const drawings = [...document.querySelectorAll("svg")].filter(shown);
  let labels = 0;
  for (const drawing of drawings) {
    const frame = drawing.getBoundingClientRect();
    const texts = [...drawing.querySelectorAll("text")].filter((one) => shown(one) && one.textContent.trim());
    const boxes = texts.map((one) => one.getBoundingClientRect());
    labels += texts.length;
    texts.forEach((one, place) => {
      const box = boxes[place];
      const said = JSON.stringify(one.textContent);
      const size = parseFloat(getComputedStyle(one).fontSize) * (drawing.getScreenCTM()?.a ?? 1);
      if (size < 9) faults.push(`label ${said} has letters of ${size.toFixed(1)} px`);
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1) {
        faults.push(`label ${said} leaves its drawing`);
      }
      for (let other = 0; other < place; other++) {
        const width = Math.min(box.right, boxes[other].right) - Math.max(box.left, boxes[other].left);
        const height = Math.min(box.bottom, boxes[other].bottom) - Math.max(box.top, boxes[other].top);
        const least = Math.min(box.width * box.height, boxes[other].width * boxes[other].height);
        if (width > 0 && height > 0 && width * height > 0.15 * least) {
          faults.push(`labels ${said} and ${JSON.stringify(texts[other].textContent)} lie on each other`);
        }
      }
    });
  }
  for (const resource of performance.getEntriesByType("resource")) faults.push(`fetches ${resource.name}`);
  const first = document.querySelector("h1");
  const told = { width: innerWidth, title: first?.textContent, drawings: drawings.length, labels, faults };
  parent.postMessage(told, "*");
});
