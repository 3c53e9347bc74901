import pytest
from bags import features_of, write_bag, write_bags, write_table

from datamodule.bag_table import BagTable, count_classes, count_features
from process.errors import UserError


def table(tmp_path, text, name="bags.csv"):
    (tmp_path / name).write_text(text)
    return BagTable(str(tmp_path))


def test_reads_the_columns_in_any_order_as_spreadsheets_write_them(tmp_path):
    text = (
        "\ufefflabel, bag ,split,fold,group\r\ntumor, a/1 ,train,3,p\r\nnormal,b,Val,0,q\r\n\r\nnormal,c,test,1,r\r\n"
    )
    rows = table(tmp_path, text, "labels.csv").rows
    assert [(row.item, row.label, row.part, row.group, row.fold) for row in rows] == [
        ("a/1", "tumor", "train", "p", 3),
        ("b", "normal", "valid", "q", 0),
        ("c", "normal", "test", "r", 1),
    ]


def test_two_columns_are_enough(tmp_path):
    found = table(tmp_path, "bag,label\na,x\nb,y\n")
    assert [(row.part, row.group, row.fold) for row in found.rows] == 2 * [("train", None, None)]
    assert not found.has_folds


@pytest.mark.parametrize(
    ("labels", "names"), [("10 9 -1 9", ["-1", "9", "10"]), ("b A a b", ["A", "a", "b"]), ("2 10 x", ["10", "2", "x"])]
)
def test_classes_are_in_the_order_of_numbers_or_of_the_alphabet(tmp_path, labels, names):
    lines = [f"{number},{label}\n" for number, label in enumerate(labels.split())]
    found = table(tmp_path, "bag,label\n" + "".join(lines))
    assert found.class_names == names
    assert count_classes(str(tmp_path)) == len(names)


def test_the_length_of_a_vector_is_that_of_the_first_readable_file(tmp_path):
    write_bags(tmp_path, [3, 3], width=7)
    (tmp_path / "features" / "0.npy").write_bytes(b"")
    assert count_features(str(tmp_path)) == 7
    (tmp_path / "features" / "1.npy").unlink()
    with pytest.raises(UserError, match=r"none of its 2 bags can be read: cannot be read as .npy"):
        count_features(str(tmp_path))


def test_a_wrong_line_is_named_and_so_are_all_others(tmp_path):
    text = "bag,label,split,group,fold\na,x,train,p,0\n,x,train,p,0\nb,,tset,,-1\na,x,test,p,0\n"
    with pytest.raises(UserError) as error:
        table(tmp_path, text)
    assert str(error.value) == (
        f"{tmp_path}/bags.csv: line 3: no bag; line 4: no label, no group, split 'tset', must be train, valid or test, "
        "fold '-1', must be 0, 1, ...; line 5: bag a is in line 2 too"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slide_id,label\na,x\n", "no column bag: rename the column slide_id"),
        ("bag,class\na,x\n", "no column label: its columns are bag,class"),
        ("", "no column bag: its columns are none"),
        ("bag,label\n", "no bag in it"),
        (
            "bag,label,split,group\na,x,train,p\nb,x,test,p\nc,x,train,q\nd,x,valid,r\ne,x,test,r\n",
            r"bags of one group are in several parts: p, r \(p: test and train\): give each group one split",
        ),
        ("bag,label,group,fold\na,x,p,0\nb,x,p,1\n", r"several parts: p \(p: train, fold 0 and train, fold 1\)"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        table(tmp_path, text)


def test_a_missing_table_and_two_tables(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no such folder: set data.root to the folder of bags.csv"):
        BagTable(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"no bags.csv or labels.csv in it: a line bag,label"):
        BagTable(str(tmp_path))
    for name in ("bags.csv", "labels.csv"):
        write_table(tmp_path, [{"bag": "a", "label": 0}], name)
    with pytest.raises(UserError, match="both there: keep one"):
        BagTable(str(tmp_path))


def test_files_may_stand_beside_the_table_and_in_folders(tmp_path):
    write_bag(tmp_path / "2020" / "a.pt", features_of(0, 3, 2))
    write_bag(tmp_path / "b.npy", features_of(0, 4, 2))
    write_table(tmp_path, [{"bag": "2020/a", "label": 0}, {"bag": "b", "label": 1}])
    assert [file.length for file in BagTable(str(tmp_path)).files(["2020/a", "b"])] == [3, 4]
