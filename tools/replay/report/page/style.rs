//! The style sheet: colours by name, light and dark, and what drawings and page use them for.

/// What a drawing needs, in the page or in a file of its own.
pub fn of_drawings() -> String {
    format!(
        ":root{{{LIGHT}}}@media screen and (prefers-color-scheme:dark){{:root{{{DARK}}}}}{DRAWINGS}"
    )
}

/// Blue and orange are told apart by all eyes, on both grounds. Zones differ in lightness as well,
/// and have their names on them.
const LIGHT: &str = "color-scheme:light dark;--ground:#fff;--ink:#1f2328;--quiet:#59636e;\
--line:#d5dbe1;--first:#0067a8;--second:#c75300;--good:#1a7f37;--fair:#8a5a00;--bad:#c4121f;\
--z0:#eef7f0;--z1:#fdf3d3;--z2:#f9dcd9;--card:#f6f8fa";
const DARK: &str = "--ground:#0d1117;--ink:#e6edf3;--quiet:#9aa4ae;--line:#30363d;\
--first:#58b0ee;--second:#ff9e4a;--good:#3fb950;--fair:#e3b341;--bad:#ff7b72;\
--z0:#0f2018;--z1:#2e2710;--z2:#3d1a1c;--card:#151b23";

const DRAWINGS: &str = "\
svg{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:var(--ink)}\
.ground{fill:var(--ground)}.b{font-weight:600}.h{font-size:15px;font-weight:600}\
.q{fill:var(--quiet);font-size:10.5px}.c{text-anchor:middle}.e{text-anchor:end}\
.grid,.axis{stroke:var(--line);fill:none}.axis{stroke:var(--quiet)}\
.s0{stroke:var(--first);fill:none}.s1{stroke:var(--second);fill:none}\
.s0.f{fill:var(--first)}.s1.f{fill:var(--second)}.f{stroke:none}\
.s1.k{rx:50%}.hill{fill-opacity:.8}.w{stroke-width:2;stroke-opacity:.55}.w2{stroke-width:1.6}\
.tail{stroke-width:2}.s1.tail{stroke-dasharray:6 3}\
.pale{fill-opacity:.5}.faint{fill-opacity:.2}.lost{fill:var(--bad)}\
.good{fill:var(--good)}.fair{fill:var(--fair)}.bad{fill:var(--bad)}\
.z0{fill:var(--z0)}.z1{fill:var(--z1)}.z2{fill:var(--z2)}";

/// What the page needs besides.
pub const PAGE: &str = "\
body{margin:0 auto;max-width:1320px;padding:16px 20px 60px;background:var(--ground);\
color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}\
h1{font-size:26px;line-height:1.25;margin:12px 0 2px;overflow-wrap:anywhere}\
h2{font-size:20px;margin:44px 0 2px}h3{font-size:16px;margin:18px 0 6px}\
p{margin:6px 0;max-width:76ch}.quiet{color:var(--quiet);font-size:13px}\
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:14px;margin:18px 0}\
.card{background:var(--card);border-left:6px solid var(--quiet);border-radius:6px;padding:12px 16px}\
.card+.card{margin-top:10px}.cards .card{margin:0}.card p{margin:2px 0}.card .says{font-size:18px;font-weight:600;line-height:1.35}\
.card.good{border-color:var(--good)}.card.fair{border-color:var(--fair)}\
.card.bad{border-color:var(--bad)}\
.name{overflow-wrap:anywhere}.sign{font-weight:700}.good .sign{color:var(--good)}\
.fair .sign{color:var(--fair)}.bad .sign{color:var(--bad)}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));\
gap:10px 28px;align-items:start}\
figure{margin:0;max-width:520px;break-inside:avoid}figure svg{display:block;width:100%;height:auto}\
.key{display:inline-block;width:11px;height:11px;margin-right:5px}\
.key.s0{background:var(--first)}.key.s1{background:var(--second);border-radius:50%}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px;white-space:nowrap;\
font-variant-numeric:tabular-nums}caption{text-align:left;font-weight:600;padding:14px 0 4px}\
td,th{padding:3px 0 3px 16px;text-align:right;font-weight:400}td:first-child,th:first-child,\
.l{text-align:left;padding-left:0}thead th{color:var(--quiet);vertical-align:bottom}\
tbody tr{border-top:1px solid var(--line)}tbody th{font-weight:600}\
tr.ratio{border-top:none;color:var(--quiet)}td.lost{color:var(--bad);font-weight:600}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:8px 0}\
@media (max-width:520px){body{padding:8px 14px 40px}h1{font-size:20px}table{font-size:12px}\
td,th{padding-left:9px}tbody td:first-child{white-space:normal;overflow-wrap:anywhere;min-width:84px}}\
dt{color:var(--quiet)}dd{margin:0;overflow-wrap:anywhere}summary{cursor:pointer}\
@media print{body{max-width:none;padding:0;font-size:11pt}h2{break-after:avoid}\
.card,.z0,.z1,.z2,.key{print-color-adjust:exact;-webkit-print-color-adjust:exact}\
.charts{grid-template-columns:1fr 1fr}.wide{overflow:visible}table{font-size:8pt}}";
