"""A small valid document of each label format that is XML, HTML or lines of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fuzz_inputs import as_bytes, as_json, as_xml, xml_tree
from fuzz_seeds import BOX, OTHER, Seed, pages

from detector.data.raw.label_file import LabelFile

FIELDS = (b",", b"1e400", b"nan", b"9" * 400, b"\0", b"\xff\xfe", b"\r", "\u2028".encode(), b"-")
MARKUP = (
    *(b"<!--", b"<![CDATA[", b"]]>", b"<?", b"</a>", b"<a/>", b"&e;", b"&#0;", b"&#1114112;"),
    *(b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>', b"<script>", b"<", b'"', b"\0"),
    *(b'<!DOCTYPE a [<!ENTITY % e "1"> %e;]>', b'<?xml version="1.0" encoding="utf-7"?>'),
    *(b'<?xml version="1.0" encoding="utf-16"?>', b"\xff\xfe<", b" xmlns='u'", b" a:b=''"),
)


def _xml(text: str, words: str, suffix: str = ".xml") -> Seed:
    """A file for each image; `words` is the ElementTree path of words."""
    return Seed(pages(suffix), (xml_tree(text),), _written, _at(words), MARKUP)


def _at(path: str) -> Callable[[LabelFile], int]:
    return lambda file: len(file.xml.findall(path))


def _written(document: Any) -> bytes:
    return as_bytes(as_xml(document))


def _lines(text: str, separator: str = ",", *, counted: bool = True) -> Seed:
    """A file for each image of lines of fields, each a word."""
    document = [line.split(separator) for line in text.splitlines()]

    def write(document: Any) -> bytes:
        lines = document if isinstance(document, list) else [document]
        fields = (line if isinstance(line, list) else [line] for line in lines)
        return as_bytes("\n".join(separator.join(map(_field, line)) for line in fields))

    words = (lambda file: len(file.lines)) if counted else (lambda _: 0)
    return Seed(pages(".txt"), (document,), write, words, FIELDS)


def _field(value: Any) -> str:
    return value if isinstance(value, str) else as_json(value)


def _label_txt(document: Any) -> bytes:
    lines = document if isinstance(document, list) else [document]
    rows = [line if isinstance(line, list) else [line] for line in lines]
    return as_bytes("\n".join("\t".join([*map(_field, row[:1]), *map(as_json, row[1:])])
                              for row in rows))  # fmt: skip


ALTO = """<alto xmlns="http://www.loc.gov/standards/alto/ns-v3#"><Description>
<MeasurementUnit>mm10</MeasurementUnit>
<sourceImageInformation><fileName>a.jpg</fileName></sourceImageInformation></Description>
<Layout><Page WIDTH="1000" HEIGHT="800"><PrintSpace><TextBlock><TextLine>
<String HPOS="100" VPOS="200" WIDTH="400" HEIGHT="200" CONTENT="합계"><Glyph/></String><SP/>
<String CONTENT="a"><Shape><Polygon POINTS="600,500 900,500 900,600 600,600"/></Shape></String>
</TextLine></TextBlock></PrintSpace></Page></Layout></alto>"""
PAGE_XML = """<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">
<Page imageFilename="a.jpg" imageWidth="100" imageHeight="80"><TextRegion><TextLine>
<Coords points="10,20 90,20 90,40 10,40"/><Word><Coords points="10,20 50,20 50,40 10,40"/>
<TextEquiv index="1"><Unicode>합계</Unicode></TextEquiv></Word></TextLine><TextLine>
<Coords><Point x="60" y="50"/><Point x="90" y="50"/><Point x="90" y="60"/></Coords></TextLine>
</TextRegion></Page></PcGts>"""
HOCR = """<html><body><div class="ocr_page" title='image "a.jpg"; bbox 0 0 100 80'>
<span class="ocr_line" title="bbox 10 20 90 40"><span class="ocrx_word"
 title="bbox 10 20 50 40; x_wconf 90">합<b>계</b></span> <span class="ocrx_word"
 title="poly 60 50 90 50 90 60 60 60">a<br/></span></span></div></body></html>"""
CVAT = """<annotations><meta><task><labels><label><name>word</name><attributes><attribute>
<name>text</name><input_type>text</input_type></attribute></attributes></label></labels></task>
</meta><image id="0" name="train/a.jpg" width="100" height="80">
<box label="word" xtl="10" ytl="20" xbr="50" ybr="40" rotation="12.5">
<attribute name="text">합계</attribute><attribute name="ignore">false</attribute></box>
<polygon label="word" points="60,50;90,50;90,60;60,60"/><polyline label="word" points="1,2;3,4"/>
</image><image name="b.png"/></annotations>"""
VOC = """<annotation><filename>a.jpg</filename><path>C:\\old\\a.jpg</path>
<size><width>100</width><height>80</height></size><object><name>text</name>
<difficult>0</difficult><bndbox><xmin>10</xmin><ymin>20</ymin><xmax>50</xmax><ymax>40</ymax>
</bndbox><attributes><attribute><name>text</name><value>합계</value></attribute></attributes>
</object><object><name>ignore</name><bndbox><xmin>60</xmin><ymin>50</ymin><xmax>90</xmax>
<ymax>60</ymax></bndbox></object></annotation>"""
CTW = """<Annotations><image file="a.jpg"><box left="10" top="20" width="40" height="20">
<label>a</label><segs>10,20,50,20,50,40,10,40</segs><pts x="1" y="2"/></box>
<box left="60" top="50" width="30" height="10"><label>###</label></box></image></Annotations>"""
CTW_TEST = "10,20,50,20,50,40,10,40,####합계\n60,50,90,50,90,60,60,60,####a\n"
CTW_FIRST = (
    "10,20,50,40" + ",0,0,9,1,18,0,27,1,36,0,39,2,40,5,40,19,36,20,27,19,18,20,9,19,2,18,1,9"
)
ICDAR = (
    "\ufeff10,20,50,20,50,40,10,40,합계\n60,5,90,5,90,15,60,15,1,000\n5,60,30,60,30,70,5,70,###\n"
)
TOTAL = """x: [[10 50 50 10]], y: [[20 20 40 40]], ornt: [u'c'], transcriptions: [u'\\ud569']
x: [[60 70 80\n 80 70 60]], y: [[5 3 5 12 10 12]], ornt: [u'#'], transcriptions: [u'#']
"""
PADDLE = [
    [
        "train/a.jpg",
        [{"transcription": "합계", "points": BOX}, {"points": OTHER, "difficult": True}],
    ],
    ["train/b.png", []],
]
SEEDS: dict[str, tuple[Seed, ...]] = {
    "alto": (_xml(ALTO, "Layout/Page//String"),),
    "page_xml": (_xml(PAGE_XML, "Page//TextLine/Word"),),
    "cvat": (_xml(CVAT, "image/*"),),
    "pascal_voc": (_xml(VOC, "object"),),
    "hocr": (Seed(pages(".hocr"), (xml_tree(HOCR),), _written, pieces=MARKUP),),
    "ctw1500": (_xml(CTW, "image//box"), _lines(CTW_TEST), _lines(CTW_FIRST)),
    "icdar2013": (_lines('10 20 50 40 "합계"\n60 50 90 60 "a \\"b\\""\n', " "),
                  _lines('10, 20, 50, 40, "합계"\n60, 50, 90, 60, "a, b"\n')),
    "icdar2015": (_lines(ICDAR),),
    "icdar_mlt": (_lines("10,20,50,20,50,40,10,40,Korean,합계\n60,5,90,5,90,15,60,15,None,###\n"),),
    "totaltext": (_lines(TOTAL, " ", counted=False),),
    "yolo_box": (_lines("0 0.3 0.375 0.4 0.25\n0 0.7 0.6 0.3 0.1 0.9\n", " "),),
    "yolo_obb": (_lines("0 0.1 0.2 0.5 0.2 0.5 0.4 0.1 0.4\n1 .6 .5 .9 .5 .9 .6 .6 .6 .8\n", " "),),
    "ppocrlabel": (Seed(("Label.txt",), (PADDLE,), _label_txt, pieces=(*FIELDS, b"\t", b"[]")),),
}  # fmt: skip
