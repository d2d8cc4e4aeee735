(() => {
  "use strict";
  const page = JSON.parse(document.getElementById("report-data").textContent);
  const config = { responsive: true, displayModeBar: false };

  const labelled = (picture) => {
    for (const trace of picture.data) {
      if (trace.hovertemplate && trace.hovertemplate.startsWith("%{text}")) {
        trace.text = trace.customdata.map(([label]) => page.labels[label]);
      }
    }
    return picture;
  };

  const draw = (element, picture) => {
    const { data, layout } = labelled(picture);
    return Plotly.react(element, data, layout, config);
  };

  const showMetric = (index) => {
    const panel = page.calibration[index];
    const element = document.getElementById("calibration");
    document.getElementById("calibration-caption").textContent = panel.caption;
    document.getElementById("calibration-note").textContent = panel.note;
    if (panel.picture) {
      draw(element, panel.picture);
    } else {
      Plotly.purge(element);
    }
  };

  for (const element of document.querySelectorAll("[data-picture]")) {
    draw(element, page.pictures[element.dataset.picture]);
  }
  const metric = document.getElementById("metric");
  metric.addEventListener("change", () => showMetric(Number(metric.value)));
  showMetric(Number(metric.value));

  const fit = () => {
    for (const element of document.querySelectorAll(".js-plotly-plot")) {
      Plotly.Plots.resize(element);
    }
  };
  window.addEventListener("beforeprint", fit);
  window.addEventListener("afterprint", fit);
  document.documentElement.dataset.drawn = "true";
})();
