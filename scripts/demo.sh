#!/usr/bin/env bash
# Explains a real photo, a real sentence and a real table row with trained models: several methods side by side, with
# what tells how far each can be trusted. Names the reports it wrote.
set -euo pipefail
bin=${VENV:-.venv}/bin
out=${OUT:-out}
mkdir -p "$out"
export HF_HUB_OFFLINE=1

# The cat that scikit-image carries among its pictures.
photo=$("$bin/python" -c 'import pathlib, skimage; print(pathlib.Path(skimage.__file__).parent / "data" / "chelsea.png")')

"$bin/enodo" report "$photo" --model efficientnet-lite0 --out "$out/photo.html"
"$bin/enodo" report "The story drags, but the acting is superb and the ending is beautiful." --model minilm-sentiment --top 2 --out "$out/sentence.html"
"$bin/enodo" report --model breast-cancer --row 3 --out "$out/row.html"

echo
echo "Three reports were written; open them in a browser:"
for name in photo sentence row; do
    test -s "$out/$name.html"
    echo "  $out/$name.html"
done
