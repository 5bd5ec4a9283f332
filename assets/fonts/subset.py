"""Cuts Inter down to what retouch draws: Latin, Greek, Cyrillic, punctuation; digits of one width.

Usage: python subset.py SOURCE.otf OUT.otf, with fonttools 4.x. Sources: Inter 4.0 beta 7, Inter-Regular.otf and
Inter-SemiBold.otf. The digits are the font's own tabular ones (feature `tnum`), so that columns of numbers line up
in a rasteriser without a layout engine. The font stays under its licence, OFL.txt.
"""

import sys

from fontTools import subset
from fontTools.ttLib import TTFont

TEXT = (
    "U+0020-007E,U+00A0-017F,U+0218-021B,U+02C6,U+02DA,U+02DC,U+0370-03FF,U+0400-045F,U+0490-0491,U+1E80-1E85,"
    "U+1E9E,U+2010-2027,U+2030,U+2032-2033,U+2039-203A,U+20AC,U+2122,U+2190-2193,U+2212,U+2260,U+2264-2265,U+2713"
)

font = TTFont(sys.argv[1], recalcTimestamp=False)

layout = font["GSUB"].table
tabular = {}
for record in layout.FeatureList.FeatureRecord:
    if record.FeatureTag == "tnum":
        for index in record.Feature.LookupListIndex:
            for table in layout.LookupList.Lookup[index].SubTable:
                tabular.update(getattr(table, "ExtSubTable", table).mapping)
for table in font["cmap"].tables:
    for digit in map(ord, "0123456789"):
        glyph = table.cmap[digit]
        table.cmap[digit] = tabular.get(glyph, glyph)  # tables may share one map, changed already

options = subset.Options(layout_features=[], notdef_outline=True, hinting=False)
options.drop_tables += ["GSUB", "GPOS", "GDEF"]
options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
subsetter = subset.Subsetter(options)
subsetter.populate(unicodes=subset.parse_unicodes(TEXT))
subsetter.subset(font)
font.save(sys.argv[2])
