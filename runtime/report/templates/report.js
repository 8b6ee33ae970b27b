"use strict";
// Draws the figures, keeps them in step with the theme, the width and the chosen targets, and runs the films.

const bytesOf = (id) => Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));

async function unpack(id) {
  const stream = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const narrow = matchMedia("(max-width: 44rem)");
const touched = matchMedia("(pointer: coarse)");
const hovers = matchMedia("(hover: hover)");

function theme() {
  const style = getComputedStyle(document.documentElement);
  const [ink, quiet, line, panel] = ["--ink", "--quiet", "--line", "--panel"].map((name) => style.getPropertyValue(name).trim());
  return { ink, quiet, line, panel };
}

// Panels stand below each other where the page is narrow.
function arrange(figure, layout) {
  if (!figure.panels) return figure.height;
  const columns = narrow.matches ? 1 : layout.grid.columns;
  const rows = Math.ceil(figure.panels / columns);
  layout.grid = { ...layout.grid, columns, rows, xgap: 0.16, ygap: rows > 1 ? 0.28 : 0 };
  return narrow.matches ? rows * 215 + 40 : figure.height;
}

function layoutOf(figure) {
  const { ink, quiet, line, panel } = theme();
  const layout = structuredClone(figure.layout);
  const height = arrange(figure, layout);
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, tickfont: { color: quiet }, automargin: true };
  const axes = Object.keys(layout).filter((name) => /^[xy]axis/.test(name));
  for (const name of new Set([...axes, "xaxis", "yaxis"])) {
    layout[name] = { ...axis, ...layout[name] };
    if (layout[name].title) layout[name].title = { ...layout[name].title, font: { size: 12 }, standoff: 6 };
  }
  return {
    ...layout,
    height,
    showlegend: false,
    dragmode: touched.matches ? false : "zoom",
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, size: 12, family: getComputedStyle(document.body).fontFamily },
    hoverlabel: { bgcolor: panel, bordercolor: line, font: { color: ink } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: quiet, activecolor: ink },
    margin: { l: 56, r: 12, t: 10, b: 44 },
  };
}

// What is drawn in the page's ink, and what the reader has switched off.
function tracesOf(figure) {
  const { ink } = theme();
  const off = new Set([...document.querySelectorAll(".targets input:not(:checked)")].map((box) => box.value));
  return figure.data.map((trace) => ({
    ...trace,
    visible: !off.has(trace.meta),
    ...(trace.line && trace.line.color === "ink" ? { line: { ...trace.line, color: ink } } : {}),
  }));
}

async function drawAll(figures) {
  for (const figure of figures) {
    const place = document.querySelector(`[data-figure="${figure.name}"]`);
    const config = { displaylogo: false, responsive: true, displayModeBar: hovers.matches && "hover", modeBarButtons: [["toImage", "resetScale2d"]] };
    await Plotly.react(place, tracesOf(figure), layoutOf(figure), config);
  }
}

function runFilms() {
  for (const video of document.querySelectorAll("video[data-film]")) {
    const bytes = bytesOf(`film-${video.dataset.film}`);
    // Its first picture is shown, and printed.
    video.addEventListener("loadedmetadata", () => { video.currentTime = 0.01; }, { once: true });
    video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
  }
  for (const group of document.querySelectorAll(".films")) {
    const videos = [...group.querySelectorAll("video")];
    const [play, seek] = [group.querySelector(".play"), group.querySelector(".seek")];
    const longest = () => Math.max(...videos.map((video) => video.duration || 0));
    const name = () => { play.textContent = videos.some((video) => !video.paused) ? "Pause all" : "Play all"; };
    play.addEventListener("click", () => {
      const running = videos.some((video) => !video.paused);
      const ended = videos.every((video) => video.ended);
      for (const video of videos) {
        if (ended) video.currentTime = 0;
        running ? video.pause() : video.ended || video.play();
      }
    });
    seek.addEventListener("input", () => {
      for (const video of videos) video.currentTime = Math.min(video.duration || 0, (longest() * seek.value) / 1000);
    });
    for (const video of videos) {
      for (const event of ["play", "pause", "ended"]) video.addEventListener(event, name);
      video.addEventListener("timeupdate", () => { if (!video.paused) seek.value = (1000 * video.currentTime) / longest(); });
    }
  }
}

function chooseTargets(figures) {
  document.querySelector(".targets").addEventListener("change", () => {
    const boxes = [...document.querySelectorAll(".targets input")];
    for (const box of boxes) {
      for (const part of document.querySelectorAll("[data-target]")) {
        if (part.dataset.target === box.value) part.hidden = !box.checked;
      }
    }
    drawAll(figures);
  });
}

async function start() {
  try {
    runFilms();
    const code = document.createElement("script");
    code.textContent = await unpack("plotly");
    document.head.append(code);
    const figures = JSON.parse(await unpack("figures"));
    await drawAll(figures);
    chooseTargets(figures);
    for (const change of [dark, narrow]) change.addEventListener("change", () => drawAll(figures));
    addEventListener("beforeprint", () => { for (const place of document.querySelectorAll(".drawing")) Plotly.Plots.resize(place); });
    document.documentElement.dataset.drawn = figures.length;
  } catch (error) {
    const note = document.getElementById("undrawn");
    note.textContent = `This browser cannot draw the plots (${error.message}); all tables are here without them.`;
    note.hidden = false;
  }
}

start();
