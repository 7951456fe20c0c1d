import json

import numpy as np
import pytest
from PIL import Image

from samgeo.errors import OptionError, RasterError, SamgeoError
from samgeo.synthetic import town
from samgeo.training.data.examples import Layer
from samgeo.training.recipe import load_recipe

TRAIN = "[train]\nsteps = 3\n"
VECTORS = '[[source]]\nimages = "town*.tif"\nvectors = "{stem}.geojson"\n'


@pytest.fixture(scope="module")
def scene():
    return town((96, 128), 8)


@pytest.fixture
def folder(scene, tmp_path):
    scene.save(tmp_path / "town1.tif")
    scene.footprints.to_file(tmp_path / "town1.geojson")
    Image.fromarray(scene.image).save(tmp_path / "a.png")
    Image.fromarray(scene.classes.astype(np.uint8)).save(tmp_path / "a.classes.png")
    return tmp_path


def recipe(folder, text):
    (folder / "recipe.toml").write_text(text)
    return load_recipe(folder / "recipe.toml")


def only(folder, text):
    (source,) = recipe(folder, TRAIN + text).read()
    return source


def test_a_preset_names_blocks_and_single_ones_may_differ(folder):
    found = recipe(folder, TRAIN + "minutes = 2.5\ndraw_on_device = true\n[network]\npreset = 'deep'\n" + VECTORS)
    assert found.network == {"attend": (1, 3), "deepen": (3, 3, 2)}
    assert (found.options.minutes, found.options.draw_on_device) == (2.5, True)
    found = recipe(folder, TRAIN + "[network]\npreset = 'deep'\nattend = [2, 2]\n" + VECTORS)
    assert found.network == {"attend": (2, 2), "deepen": (3, 3, 2)}


def test_options_are_those_of_training(folder):
    text = """
    start = "mine.safetensors"
    [network]
    deepen = [1, 0, 2]
    [train]
    steps = 7
    rate = 1
    crops = [[64, 4, 1], [96, 3, 0.5]]
    rates = { encoder = 0.1 }
    [train.losses]
    dice = 2
    [train.course]
    more_clicks = [0.5, 0.25]
    """
    found = recipe(folder, text + VECTORS)
    assert found.start == str(folder / "mine.safetensors")
    assert found.network == {"deepen": (1, 0, 2)}
    options = found.options
    assert (options.steps, options.rate, options.crops) == (7, 1.0, ((64, 4, 1.0), (96, 3, 0.5)))
    assert isinstance(options.rate, float)
    assert (options.rates, options.losses.dice, options.course.more_clicks) == ({"encoder": 0.1}, 2.0, (0.5, 0.25))
    assert options.images == 2


def test_vectors_become_objects(folder, scene):
    source = only(folder, VECTORS + "weight = 2\nscales = [1, 1.5]\nmin_area_px = 1\n")
    assert (source.name, source.weight, source.scales) == ("vectors", 2.0, (1.0, 1.5))
    assert source.layers == {"building": Layer(1.0)}
    assert np.array_equal(source.pictures[0].layers["building"], scene.labels)


def test_one_file_serves_all_images_and_layers_are_named(folder, scene):
    text = """
    [[source]]
    name = "two"
    images = ["town1.tif"]
    vectors = { roof = "town1.geojson", other = "town1.geojson" }
    layers = { roof = 0.7, other = { share = 0.3, trust = 0.5 } }
    """
    source = only(folder, text)
    assert source.layers == {"roof": Layer(0.7), "other": Layer(0.3, 0.5)}
    assert set(source.pictures[0].layers) == {"roof", "other"}


def test_class_maps_are_split_by_number_and_by_colour(folder, scene):
    text = '[[source]]\nimages = "a.png"\nmasks = "{stem}.%s.png"\nclasses = { building = [%s] }\nmin_area_px = 16\n'
    number = scene.class_names.index("building")
    by_number = only(folder, text % ("classes", number))
    colours = np.where((scene.classes == number)[..., None], (60, 16, 152), (1, 2, 3)).astype(np.uint8)
    Image.fromarray(colours).save(folder / "a.colours.png")
    by_colour = only(folder, text % ("colours", '"#3c1098"'))
    ids = by_number.pictures[0].layers["building"]
    assert ids.any()
    assert (scene.classes[ids > 0] == number).all()
    assert np.array_equal(ids, by_colour.pictures[0].layers["building"])


def test_coco_scenes_and_regions_are_sources(folder):
    record = {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [[10, 5, 40, 5, 40, 35, 10, 35]]}
    document = {"images": [{"id": 7, "file_name": "a.png"}], "annotations": [record], "categories": []}
    (folder / "coco.json").write_text(json.dumps(document))
    assert only(folder, '[[source]]\ncoco = "coco.json"\nlayer = "roof"').pictures[0].layers["roof"].max() == 1
    generated = only(folder, "[[source]]\nscenes = 1\nseed = 4").pictures[0]
    assert generated.shape == (512, 512)
    assert set(generated.layers) == {"building", "region"}
    regions = only(folder, '[[source]]\npseudo = true\nimages = "a.png"')
    assert regions.layers["fine"].trust == 0.1
    assert all(ids.any() for ids in regions.pictures[0].layers.values())


def test_some_of_many_images(folder, scene):
    for number in range(2, 6):
        scene.save(folder / f"town{number}.tif")
    source = only(folder, '[[source]]\nimages = "town*.tif"\nvectors = "town1.geojson"\nevery = 2')
    assert [picture.name for picture in source.pictures] == ["town1", "town3", "town5"]


def test_validation_keeps_every_layer(folder):
    text = TRAIN + VECTORS + '[[validation]]\nname = "held out"\nimages = "town1.tif"\nvectors = { roof = "town1.geojson" }\n'
    (held_out,) = recipe(folder, text).validation
    assert held_out.read()[0].layers["roof"].any()


WRONG = [
    ("unknown blocks", TRAIN + "[network]\nwings = [2]\n" + VECTORS, r"recipe.toml, \[network\] has the unknown key wings"),
    ("too few blocks", TRAIN + "[network]\ndeepen = [1, 1]\n" + VECTORS, r"deepen is \[1, 1\]; give 3 whole numbers"),
    ("unknown preset", TRAIN + "[network]\npreset = 'huge'\n" + VECTORS, "give one of base, deep, deeper, context"),
    ("no minutes", TRAIN + "minutes = 0\n" + VECTORS, "minutes is 0"),
    ("blocks below none", TRAIN + "[network]\nattend = [1, -1]\n" + VECTORS, r"attend is \[1, -1\]; give 2 whole numbers"),
    ("nothing", "[[source]]\nscenes = 1", "steps"),
    ("no source", TRAIN, r"no \[\[source\]\]"),
    ("unknown key", TRAIN + VECTORS + "wieght = 1", r"\[\[source\]\] 1.*wieght.*did you mean weight"),
    ("unknown option", "[train]\nstep = 3\nsteps = 3\n" + VECTORS, r"\[train\] has the unknown key step; did you mean steps"),
    ("type", '[train]\nsteps = "3"\n' + VECTORS, "steps is '3'.*whole number"),
    ("bool for a number", "[train]\nsteps = true\n" + VECTORS, "steps is True"),
    ("value", "[train]\nsteps = 0\n" + VECTORS, r"\[train\].*at least 1"),
    ("crops", "[train]\nsteps = 1\ncrops = [[64, 4]]\n" + VECTORS, "crops has 2 values; give 3"),
    ("share", "[train]\nsteps = 1\n[train.course]\nboxes = 2\n" + VECTORS, r"\[train\], course.*shares from 0 to 1"),
    ("loss", "[train]\nsteps = 1\n[train.losses]\ndice = -1\n" + VECTORS, r"\[train\], losses.*below 0"),
    ("two kinds", TRAIN + VECTORS + "scenes = 3", "vectors and scenes"),
    ("no kind", TRAIN + '[[source]]\nimages = "town1.tif"', "no labels"),
    ("no image", TRAIN + '[[source]]\nimages = "city*.tif"\nvectors = "town1.geojson"', "'city\\*.tif', which matches no file"),
    (
        "no labels",
        TRAIN + '[[source]]\nname = "x"\nimages = "town1.tif"\nvectors = "no.geojson"',
        r"\(x\): .*no.geojson, do not",
    ),
    ("no mask", TRAIN + '[[source]]\nimages = "a.png"\nmasks = "{stem}.no.png"\nclasses = { b = [1] }', "no.png, do not"),
    ("one mask", TRAIN + '[[source]]\nimages = "a.png"\nmasks = "a.classes.png"\nclasses = { b = [1] }', "stem"),
    ("colour", TRAIN + '[[source]]\nimages = "a.png"\nmasks = "{stem}.classes.png"\nclasses = { b = ["red"] }', "not a colour"),
    ("weight", TRAIN + VECTORS + "weight = 0", "weight is 0"),
    ("scales", TRAIN + VECTORS + "scales = [2, 1]", "scales is"),
    ("infinite", TRAIN + VECTORS + "scales = [1, inf]", "finite"),
    ("layer", TRAIN + VECTORS + "layers = { roof = 1 }", "layers has roof.*building"),
    ("trust", TRAIN + VECTORS + "layers = { building = { share = 1, trust = 2 } }", "trust from 0 to 1"),
    ("names", TRAIN + VECTORS + VECTORS, "two tables named 'vectors'"),
    ("no toml", "steps: 3", "cannot be read as TOML"),
]


@pytest.mark.parametrize(("text", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_cannot_work_is_refused_with_its_place(folder, text, message):
    with pytest.raises(OptionError, match=message):
        recipe(folder, text)


def test_labels_that_lie_elsewhere_are_refused(folder, scene):
    scene.footprints.set_geometry(scene.footprints.translate(1e5, 0)).to_file(folder / "town1.geojson")
    with pytest.raises(OptionError, match=r"vectors: layer 'building' has no object in 1 images"):
        only(folder, VECTORS)


def test_class_maps_of_another_size_or_kind_are_refused(folder, scene):
    text = '[[source]]\nimages = "a.png"\nmasks = "{stem}.b.png"\nclasses = { building = [%s] }\n'
    Image.fromarray(scene.classes.astype(np.uint8)[:50]).save(folder / "a.b.png")
    with pytest.raises(RasterError, match="same size"):
        only(folder, text % "1")
    with pytest.raises(RasterError, match="no colours"):
        only(folder, text % '"#010203"')


def test_the_recipe_of_the_bundled_model_is_at_hand_and_wants_its_data(tmp_path):
    found = load_recipe("overhead")
    assert (found.options.losses.regret, found.options.course.boxes) == (0.7, 0.35)
    with pytest.raises(OptionError, match="--data"):
        list(found.read())
    with pytest.raises(SamgeoError, match="oam-banepa-buildings"):
        list(found.read(tmp_path))
    with pytest.raises(OptionError, match="one of building, overhead"):
        load_recipe("underhead")
