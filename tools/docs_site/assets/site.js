addEventListener("load", () => {
  // A corner without text is a cell, not a header of nothing.
  for (const corner of document.querySelectorAll(".md-typeset th:empty")) {
    corner.replaceWith(document.createElement("td"));
  }
  // The theme makes wide tables scroll. So that the keyboard can scroll them, they take the focus.
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap")) {
    table.tabIndex = 0;
  }
});
