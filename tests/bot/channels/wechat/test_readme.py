from pathlib import Path

import bot.channels.wechat
from bot.channels.wechat import WeChat, channel, service, shaping

README = (Path(bot.channels.wechat.__file__).parent / "README.md").read_text(encoding="utf-8")


def test_every_setting_is_explained():
    declared = WeChat.declaration.required_settings + WeChat.declaration.optional_settings

    assert [name for name in declared if f"`{name}" not in README] == []


def test_every_fact_to_confirm_names_a_constant_that_exists():
    table = README.split("## Confirm on your account")[1]
    named = {
        "shaping": (
            shaping,
            ("TEXT_BYTES", "MENU_CHOICES", "MENU_LABEL_BYTES", "NOTICE_CHARACTERS"),
        ),
        "channel": (channel, ("MESSAGE_WINDOW", "CLICK_SECONDS", "CLICK_MESSAGES")),
        "service": (service, ("DAILY_QUOTA_PAUSE", "MENU_REFUSED", "ADDRESS_REFUSED")),
    }

    for module, names in named.values():
        assert all(hasattr(module, name) and name in table for name in names)
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 10
