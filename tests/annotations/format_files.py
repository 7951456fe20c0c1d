"""Small files of the formats that annotation programs and detectors write, by hand."""

import base64
import io
import json

import numpy as np
from PIL import Image as Picture


def png(pixels):
    """A mask as a PNG in base64."""
    file = io.BytesIO()
    Picture.fromarray(np.asarray(pixels, dtype=np.uint8) * 255).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


LABELME = json.dumps(
    {
        "version": "5.4.1",
        "flags": {},
        "shapes": [
            {"label": "roof", "points": [[1, 2], [9, 2], [9, 8]], "group_id": 1, "shape_type": "polygon", "flags": {}},
            {"label": "roof", "points": [[11, 2], [19, 2], [19, 8]], "group_id": 1, "shape_type": "polygon", "flags": {}},
            {"label": "shed", "points": [[9.5, 2], [1, 8]], "group_id": None, "shape_type": "rectangle", "flags": {}},
            {"label": "silo", "points": [[20, 20], [23, 24]], "shape_type": "circle"},
            {"label": "tree", "points": [[4, 5], [6, 6]], "shape_type": "mask", "mask": png([[1, 0, 1], [0, 1, 1]])},
            {"label": "ship", "points": [[30, 10], [40, 20], [35, 25], [25, 15]], "shape_type": "rotation", "score": 0.5},
        ],
        "imagePath": "..\\pictures\\a.png",
        "imageData": None,
        "imageHeight": 40,
        "imageWidth": 50,
    },
    indent=1,
)
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><labels><label><name>tree</name></label><label><name>roof</name></label></labels></task></meta>
  <image id="0" name="sub/a.png" width="50" height="40">
    <box label="roof" source="manual" occluded="0" xtl="1.5" ytl="2" xbr="9.5" ybr="8">
      <attribute name="x">1</attribute>
    </box>
    <box label="roof" xtl="10" ytl="10" xbr="20" ybr="14" rotation="90.0"/>
    <polygon label="roof" points="1,2;9,2;9,8" group_id="3"/>
    <polygon label="roof" points="11,2;19,2;19,8" group_id="3"/>
    <ellipse label="tree" cx="20" cy="20" rx="4" ry="2"/>
    <mask label="tree" rle="0, 1, 1, 2, 2" left="4" top="5" width="3" height="2"/>
    <tag label="roof"/>
  </image>
  <image id="1" name="b.png" width="50" height="40"/>
</annotations>
"""
VIA = json.dumps(
    {
        "a.png1234": {
            "filename": "a.png",
            "size": 1234,
            "regions": [
                {
                    "shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 8, "height": 6},
                    "region_attributes": {"class": "roof", "state": "new"},
                },
                {
                    "shape_attributes": {"name": "polygon", "all_points_x": [1, 9, 9], "all_points_y": [2, 2, 8]},
                    "region_attributes": {"class": {"roof": False, "shed": True}},
                },
                {
                    "shape_attributes": {"name": "circle", "cx": 20, "cy": 20, "r": 5},
                    "region_attributes": {"class": "silo"},
                },
                {
                    "shape_attributes": {"name": "ellipse", "cx": 20, "cy": 20, "rx": 4, "ry": 2, "theta": 0},
                    "region_attributes": {"class": "silo"},
                },
            ],
            "file_attributes": {},
        },
        "b.png99": {"filename": "b.png", "size": 99, "regions": {}, "file_attributes": {}},
    },
    indent=1,
)
VIA_CSV = (
    "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
    'a.png,1234,"{}",2,0,"{""name"":""rect"",""x"":1,""y"":2,""width"":8,""height"":6}","{""label"":""roof""}"\n'
    'a.png,1234,"{}",2,1,"{""name"":""polygon"",""all_points_x"":[1,9,9],""all_points_y"":[2,2,8]}","{""label"":""shed""}"\n'
    'b.png,99,"{}",0,0,"{}","{}"\n'
)
RESULT = {"original_width": 50, "original_height": 40, "image_rotation": 0, "from_name": "label", "to_name": "image"}
LABEL_STUDIO = json.dumps(
    [
        {
            "id": 1,
            "data": {"image": "/data/upload/1/0123abcd-a.png"},
            "annotations": [
                {"id": 7, "was_cancelled": True, "result": []},
                {
                    "id": 8,
                    "was_cancelled": False,
                    "result": [
                        RESULT
                        | {
                            "type": "rectanglelabels",
                            "value": {
                                "x": 2,
                                "y": 5,
                                "width": 16,
                                "height": 15,
                                "rotation": 0,
                                "rectanglelabels": ["roof"],
                            },
                        },
                        RESULT
                        | {
                            "type": "rectanglelabels",
                            "value": {
                                "x": 40,
                                "y": 25,
                                "width": 20,
                                "height": 10,
                                "rotation": 90,
                                "rectanglelabels": ["ship"],
                            },
                        },
                        RESULT
                        | {
                            "type": "polygonlabels",
                            "value": {"points": [[2, 5], [18, 5], [18, 20]], "polygonlabels": ["roof"]},
                        },
                        RESULT
                        | {
                            "type": "ellipselabels",
                            "value": {"x": 40, "y": 50, "radiusX": 8, "radiusY": 5, "ellipselabels": ["silo"]},
                        },
                        RESULT | {"type": "choices", "value": {"choices": ["good"]}},
                    ],
                },
            ],
            "predictions": [],
        },
        {"id": 2, "data": {"image": "https://example.org/x/b.png?token=1"}, "annotations": [{"result": []}], "predictions": []},
    ],
    indent=1,
)
HRSC = """<HRSC_Image>
  <Img_ID>100000001</Img_ID><Img_FileName>a</Img_FileName><Img_FileFmt>bmp</Img_FileFmt>
  <Img_SizeWidth>50</Img_SizeWidth><Img_SizeHeight>40</Img_SizeHeight>
  <HRSC_Objects>
    <HRSC_Object>
      <Object_ID>100000001</Object_ID><Class_ID>100000013</Class_ID><truncated>0</truncated><difficult>1</difficult>
      <box_xmin>18</box_xmin><box_ymin>10</box_ymin><box_xmax>22</box_xmax><box_ymax>30</box_ymax>
      <mbox_cx>20</mbox_cx><mbox_cy>20</mbox_cy><mbox_w>20</mbox_w><mbox_h>4</mbox_h><mbox_ang>1.5707963267948966</mbox_ang>
    </HRSC_Object>
  </HRSC_Objects>
</HRSC_Image>
"""
TASK1 = "P0001 0.5 10 10 30 12 28 22 8 20\nP0002 0.25 1 2 3 2 3 4 1 4\nP0001 0.125 1.5 2 3 2 3 4 1.5 4\n"
TASK2 = "0007 0.5 10 10 30 22.5\n0008 0.25 1 2 3 4\n"
COCO_RESULTS = json.dumps(
    [
        {"image_id": 7, "category_id": 3, "bbox": [1, 2, 8, 6], "score": 0.5},
        {"image_id": 7, "category_id": 1, "segmentation": {"size": [10, 20], "counts": [11, 2, 8, 2, 177]}, "score": 0.25},
        {"image_id": 9, "category_id": 1, "bbox": [0, 0, 2, 2], "segmentation": {"size": [10, 20], "counts": ";280Y5"}},
    ],
    indent=1,
)
SPACENET = (
    "ImageId,BuildingId,PolygonWKT_Pix,PolygonWKT_Geo\n"
    'AOI_1_img1,1,"POLYGON Z ((1 2 0,9 2 0,9 8 0,1 8 0,1 2 0))","POLYGON ((0 0,1 0,1 1,0 0))"\n'
    'AOI_1_img1,2,"POLYGON ((10 2,19 2,19 8,10 2))",\n'
    "AOI_1_img2,-1,POLYGON EMPTY,POLYGON EMPTY\n"
)
# Over the image that `place` writes: 50 x 40 pixels of 1 m from (500000, 3000000) in EPSG:32645.
OPEN_BUILDINGS_HEAD = "latitude,longitude,area_in_meters,confidence,geometry,full_plus_code\n"
