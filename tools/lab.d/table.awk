# From lines "FROM TO SENT LOST MIN AVG MAX" (times in ms, "-" if there was no reply) the table that
# a person reads. With `full` a row for each pair, else one for each station and for each pair that
# lost something. `pairs` is how many there should be, `kinds` what kind each guest is, in order, if
# they differ. Ends with 1 if anything is missing.

function row(name, other, sent, lost, best, mean, worst) {
  printf "  %-12s %-12s %6d %6d %6.1f %%  ", name, other, sent, lost, sent ? 100 * lost / sent : 100
  if (best == "") print "-"
  else printf "%8.3f %8.3f %8.3f\n", best, mean, worst
}

function heading(name, other) {
  printf "\n  %-12s %-12s %6s %6s %8s  %8s %8s %8s\n", name, other, "sent", "lost", "loss", "rtt min", "avg", "max"
}

# Adds a pair to the sums under `key`.
function add(key) {
  sent[key] += $3; lost[key] += $4
  if ($5 == "-") return
  if (!(key in min) || $5 < min[key]) min[key] = $5
  if (!(key in max) || $7 > max[key]) max[key] = $7
  total[key] += $6 * ($3 - $4); replies[key] += $3 - $4
}

function sum(name, other, key) {
  if (replies[key]) row(name, other, sent[key], lost[key], min[key], total[key] / replies[key], max[key])
  else row(name, other, sent[key], lost[key], "")
}

function called(station) {
  return station == "host" ? "host" : station in kind ? station " " kind[station] : "guest " station
}

BEGIN { split(kinds, kind, " ") }

{
  if (!($1 in seen)) { seen[$1] = 1; order[++stations] = $1 }
  pair[NR] = $0
  add("from " $1); add("all")
}

END {
  if (full) heading("from", "to")
  else {
    heading("from", "to")
    for (i = 1; i <= stations; i++) sum(called(order[i]), "all others", "from " order[i])
    if (lost["all"]) heading("pairs that", "lost")
  }
  for (i = 1; i <= NR; i++) {
    split(pair[i], field, " ")
    if (!full && field[4] == 0) continue
    if (field[5] == "-") row(called(field[1]), called(field[2]), field[3], field[4], "")
    else row(called(field[1]), called(field[2]), field[3], field[4], field[5], field[6], field[7])
  }
  print ""
  if (NR) sum("all", NR " pairs", "all")
  if (NR != pairs) printf "  %d of %d pairs have no result\n", pairs - NR, pairs
  exit lost["all"] != 0 || NR != pairs
}
