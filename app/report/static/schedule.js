(() => {
  "use strict";
  const page = JSON.parse(document.getElementById("report-data").textContent);
  const config = { responsive: true, displayModeBar: false };
  for (const element of document.querySelectorAll("[data-picture]")) {
    const { data, layout } = page.pictures[element.dataset.picture];
    Plotly.react(element, data, layout, config);
  }
  const fit = () => {
    for (const element of document.querySelectorAll(".js-plotly-plot")) {
      Plotly.Plots.resize(element);
    }
  };
  window.addEventListener("beforeprint", fit);
  window.addEventListener("afterprint", fit);
  document.documentElement.dataset.drawn = "true";
})();
