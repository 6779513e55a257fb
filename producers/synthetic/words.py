"""The words of which the names of invented people, places and organisations are made."""

from __future__ import annotations

from typing import Final

SURNAMES: Final = tuple(
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文"
)
GIVEN: Final = tuple(
    "安柏宝贝斌冰波博才昌超辰成川春慈丹德东恩芳飞枫刚歌光桂国海涵航好浩禾和恒红宏华欢辉慧佳嘉坚建健江杰洁金锦晶静菊娟君俊康可坤兰岚乐磊蕾莉立丽莲良林琳玲凌龙璐梅萌敏明楠宁佩鹏平萍琪琦强巧青晴秋泉然仁蓉瑞珊尚胜诗书舒爽思松涛婷彤万薇伟文雯武希霞贤晓欣新星雪雅岩妍燕阳瑶怡艺逸英莹勇宇雨玉元月悦云泽展哲珍振志智竹子梓"
)

_STEMS = (
    *("望堤", "听澜", "云帆", "稻香", "拾柳", "漕声", "新禾", "槐荫", "菊影", "泊舟"),
    *("长汴", "绣塘", "青麦", "鸣皋", "半亭", "朝棹", "晚渡", "清砚", "织锦", "石舫"),
)
STREETS: Final = tuple(f"{stem}{kind}" for kind in ("路", "街", "巷", "大道") for stem in _STEMS)
WATERS: Final = tuple(f"{stem}渠" for stem in _STEMS)
PARKS: Final = tuple(f"{stem}游园" for stem in _STEMS)

BRANDS: Final = tuple(
    first + second
    for first in "汴澜禾锦瑞恒云青启宏润泽晨嘉"
    for second in "源舟达和丰岚麦桥诚越帆宁盛野"
    if first != second
)
