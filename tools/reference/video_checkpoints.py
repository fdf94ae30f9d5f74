"""What the cases of videos share: checkpoints, made of those that the other cases have, and questions."""

import json
import shutil

from case_files import MARGIN_MIN, QUESTIONS, best_question, longer_questions
from rows import write_json

TEXT_BRANCH = "{% elif 'text' in content %}"
VIDEO_BRANCH = (
    "{% elif content['type'] == 'video' or 'video' in content %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
)


def with_videos(source, family, folder, settings):
    """The checkpoint `source` as `folder` of an emptied `family`, with a template and settings for
    videos."""
    shutil.rmtree(family, ignore_errors=True)
    shutil.copytree(source, folder)
    path = folder / "tokenizer_config.json"
    tokenizer = json.loads(path.read_text())
    assert tokenizer["chat_template"].count(TEXT_BRANCH) == 1
    tokenizer["chat_template"] = tokenizer["chat_template"].replace(
        TEXT_BRANCH, VIDEO_BRANCH + TEXT_BRANCH
    )
    write_json(path, tokenizer)
    pictures = json.loads((folder / "preprocessor_config.json").read_text())
    keys = ("temporal_patch_size", "merge_size", "image_mean", "image_std")
    shared = {key: pictures[key] for key in keys}
    write_json(folder / "video_preprocessor_config.json", {**shared, **settings})


def clear_question(reference, ask, paths):
    """(margin, messages) of a question about these clips that has a clear greedy answer."""
    margin, messages = best_question(
        [reference], ask, paths, questions=QUESTIONS + longer_questions()
    )
    if margin < MARGIN_MIN:
        raise SystemExit(f"{paths}: no greedy answer has a margin of {MARGIN_MIN}: change the clip")
    return margin, messages
