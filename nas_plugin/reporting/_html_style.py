"""The style sheet of the report."""

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f9; color: #1f2937; font-size: 15px; line-height: 1.5;
  font-family: ui-sans-serif, system-ui, "Segoe UI", "DejaVu Sans", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; margin: 0 0 20px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 12px; }
p { margin: 0 0 12px; color: #5b6673; }
section { background: #fff; border: 1px solid #dfe4ea; border-radius: 12px; padding: 20px 24px;
  margin: 18px 0; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; }
.tile { background: #fff; border: 1px solid #dfe4ea; border-radius: 12px; padding: 12px 18px;
  flex: 1 1 130px; }
.tile b { display: block; font-size: 21px; font-variant-numeric: tabular-nums; }
.tile span { color: #5b6673; font-size: 13px; }
.drawing, .wide { overflow-x: auto; }
.drawing svg { display: block; margin: 0 auto; }
.plot svg { width: 100%; height: auto; display: block; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: #5b6673; font-weight: 600; }
th, td { padding: 6px 16px 6px 0; border-bottom: 1px solid #e8ecf1; vertical-align: top;
  overflow-wrap: anywhere; }
tr:last-child td { border-bottom: 0; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
details { margin-top: 14px; }
summary { cursor: pointer; color: #2f6fd0; }
pre { background: #f4f6f9; border-radius: 8px; padding: 12px 16px; overflow-x: auto;
  font-size: 12.5px; }
@media print { body { background: #fff; } section, .tile { break-inside: avoid; } }
"""
