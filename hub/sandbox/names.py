"""Made-up people need names from many places: own word lists, and how a district's population is mixed from them.

An underscore stands for a space inside one name. No list was copied from a register, and
combinations are drawn at random.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Surnames = Literal["single", "double", "hyphen"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Given and family names that go together. ``weight``: share of households; ``surnames``: how two are joined."""

    weight: float
    female: str
    male: str
    family: str
    surnames: Surnames = "single"


ORIGINS = (
    Origin(
        30,
        """
        Emma Olivia Ava Sophia Abigail Grace Hannah Lily Chloe Madison Natalie Ella Audrey Claire Lucy Samantha
        Caroline Violet Hazel Aurora Nora Ruby Piper Sadie Quinn Rowan Paige Brooke Megan Erin Jane Alice Eleanor
        Josephine Mary-Kate
        """,
        """
        Liam Noah Oliver James William Henry Jack Owen Wyatt Luke Caleb Nathan Isaac Dylan Hunter Connor Evan Cole
        Parker Jude Miles Elliot George Max Leo Simon Grant Blake Reid Bennett Theodore Charles Thomas Andrew Samuel
        John-Paul
        """,
        """
        Smith Johnson Miller Davis Wilson Anderson Taylor Moore Jackson Thompson White Harris Clark Lewis Walker
        Hall Young Allen Wright Scott Hill Green Adams Baker Nelson Carter Mitchell Roberts Turner Phillips Parker
        Collins Stewart Morris Cook Rogers Reed Bell Bailey Cooper Howard Ward Brooks Bennett Gray Hughes Price
        Foster Long Russell Fisher
        """,
    ),
    Origin(
        16,
        """
        Sofía Valentina Camila Lucía Ximena María_José Daniela Renata Guadalupe Inés Belén Paloma Rocío Ángela Noemí
        Itzel Marisol Yesenia Araceli Julieta Catalina Esperanza Mónica Verónica Raquel Ana_Sofía Luz_María Elena
        Carmen Isabel
        """,
        """
        Santiago Mateo Sebastián José Luis Ángel Jesús Adrián Iván Andrés Julián Raúl César Joaquín Óscar Héctor
        Martín Emiliano Gael Rubén Tomás Ramón Fabián Gerardo Íñigo José_Luis Juan_Carlos Miguel_Ángel Diego Rafael
        Saúl Efraín
        """,
        """
        García Rodríguez Martínez Hernández López González Pérez Sánchez Ramírez Torres Flores Rivera Gómez Díaz
        Reyes Cruz Morales Ortiz Gutiérrez Chávez Ramos Ruiz Álvarez Mendoza Vásquez Castillo Jiménez Moreno Romero
        Herrera Medina Aguilar Vega Núñez Muñoz Peña Ibáñez Cordón Zúñiga Ochoa Salinas Solís Ríos Ávila Acuña
        De_la_Cruz De_León Del_Ángel
        """,
        "double",
    ),
    Origin(
        9,
        """
        Aaliyah Imani Nia Zuri Amara Kiara Deja Jada Tiana Makayla Ebony Shanice La'Tasha D'Asia Aniyah Kamaria Zoe
        Simone Raven Destiny Jasmine Nevaeh Alexis Trinity Monique Essence
        """,
        """
        Jayden Malik Darius Xavier Isaiah Elijah Andre Terrence Jalen Ke'Andre Da'Quan Marquis Tyrone Kareem Jamal
        Dante Amari Zion Langston Micah Kobe Tyrese Maurice Reggie Desmond Quincy
        """,
        """
        Williams Brown Jones Robinson Washington Jefferson Banks Booker Coleman Dorsey Gaines Grant Hairston Hampton
        Ivory Jenkins Latimore Mosley Pettiway Rollins Simmons Spruill Tubbs Vaughn Wiggins Winfrey Yancey Freeman
        Boone Ferebee
        """,
    ),
    Origin(
        6,
        """
        Aoife Siobhán Niamh Caoimhe Róisín Maeve Fiona Bridget Colleen Deirdre Gráinne Sinéad Eilís Orla Tara
        Maureen
        """,
        """
        Seán Patrick Cormac Declan Ronan Finn Brendan Cillian Eoin Pádraig Tadhg Rory Kieran Donovan Shane Desmond
        """,
        """
        O'Brien O'Connor O'Neill O'Sullivan McCarthy McDonald MacLeod Fitzgerald Murphy Kelly Byrne Ryan Walsh Doyle
        Gallagher Doherty Kennedy Lynch Quinn Sweeney D'Arcy McLaughlin Ó_Briain Ní_Dhomhnaill Fitzpatrick Flanagan
        """,
    ),
    Origin(
        5,
        """
        Élodie Chloé Amélie Anaïs Zoé Léa Marie-Claire Anne-Sophie Geneviève Noémie Maëlle Océane Aurélie Hélène
        Françoise
        """,
        """
        Jean-Luc Théo Étienne François René Benoît Loïc Gaël Jérôme Pierre Mathéo Raphaël Léo Marc-Antoine Noël
        Émile
        """,
        """
        Dubois Lefèvre Beaulieu Côté Gagné Bélanger Lévesque Bouchard Fontaine Duchêne Renaud Gauthier D'Aragon
        Thériault St-Pierre Boisvert Béchard L'Heureux Saint-Jean Poirier Châtelain
        """,
        "hyphen",
    ),
    Origin(
        5,
        """
        Zofia Agnieszka Małgorzata Katarzyna Anežka Světlana Jelena Milena Đurđa Żaneta Ludmiła Eva Tereza Olena
        Nadia Iryna
        """,
        """
        Łukasz Paweł Michał Wojciech Jiří Tomáš Miloš Đorđe Andrij Bohdan Stanisław Zbigniew Marek Ondřej Vuk Goran
        """,
        """
        Kowalski Wiśniewski Wójcik Zieliński Dąbrowski Nowák Dvořák Černý Novotný Jovanović Đokić Petrović Šimić
        Žižka Shevchenko Kovalenko Bondarenko Łukaszewicz Górski Pawłowska Horváth Szabó Tóth Kovács
        """,
    ),
    Origin(
        5,
        "Linh Mai Thảo Ngọc Hương Trang Phương_Anh Thu_Hà Kim_Chi Quỳnh Yến Bích_Vân Lan Diễm My",
        "Minh Hùng Dũng Quân Tuấn Đức Bảo Khánh Hoàng Thành_Long Anh_Tuấn Nam Phúc Sơn Việt",
        "Nguyễn Trần Lê Phạm Huỳnh Hoàng Phan Vũ Võ Đặng Bùi Đỗ Hồ Ngô Dương Lý Đinh Lương Trịnh Đoàn",
    ),
    Origin(
        5,
        "Mei Xin_Yi Jia_Hui Li_Na Xiaoyan Yuxin Ling Hui_Min Ruolan Yating Wei-Ling Shu-Fen Zihan Qiaoyu",
        "Wei Jun_Hao Zihao Ming Jian_Guo Haoran Yichen Bo_Wen Chih-Hao Wen-Jie Zhiwei Tao Rui Kai-Xiang",
        """
        Wang Li Zhang Liu Chen Yang Huang Zhao Wu Zhou Xu Sun Lü Zhu Lin Guo He Luo Tsai Hsieh Ou-Yang Cheung Fong
        Leung Ng
        """,
    ),
    Origin(
        6,
        """
        Fatima Aisha Layla Noor Zaynab Maryam Yasmin Amina Hala Nour_El-Huda Salma Rania Huda Samira Leila Zahra
        Umm-Kulthum
        """,
        """
        Omar Ali Ahmed Yusuf Ibrahim Hassan Khalid Mustafa Abdul_Rahman Tariq Bilal Nasser Karim Zayd Abd-al-Karim
        Idris
        """,
        """
        Al-Hassan Al-Masri El-Sayed Haddad Khoury Mansour Nasser Aziz Rahman Farah Abdi Warsame Bin_Saleh Abu-Zayd
        Hashemi Karimi Rahimi Noorzai Amiri Saleh Osman Mohamud Abd_El-Fattah
        """,
    ),
    Origin(
        6,
        """
        Priya Ananya Diya Kavya Meera Lakshmi Aditi Ishita Saanvi Pooja Nandini Harpreet Gurleen Tanvi Shreya
        Deepika
        """,
        """
        Arjun Rohan Aarav Vivaan Krishna Aditya Ishaan Rahul Siddharth Venkata_Ramana Harjot Gurpreet Karthik Nikhil
        Anand
        """,
        """
        Patel Sharma Gupta Reddy Nair Iyer Rao Kumar Singh Kaur Chatterjee Mukherjee Venkatesan Subramanian Desai
        Mehta Banerjee Pillai Krishnamurthy Agarwal Chowdhury Ramakrishnan
        """,
    ),
    Origin(
        3,
        "Astrid Freja Søs Åsa Ingrid Märta Saga Kirsten Sólveig Þórdís Jördis Annika Käthe Lieselotte Anke",
        "Bjørn Søren Åke Lars Jörg Jürgen Gunnar Þór Mikkel Rasmus Göran Håkon Henrik Günther Matthias",
        """
        Hansen Sørensen Ångström Lindqvist Bjørnstad Gustafsson Jónsdóttir Müller Schröder Weiß Köhler Großmann
        Van_der_Berg Von_Hagen De_Vries Ødegård Åkesson Nyström Schäfer Böhm
        """,
    ),
    Origin(
        2,
        "Leilani Kalea Noelani Kai'ulani Mahina Sina Talia Lupe Ataahua Hinewai Moana",
        "Kai Keoni Makoa Kaleo Tane Sione Tevita Koa Nāinoa Manaia Rangi",
        "Kealoha Kahale Kamakawiwo'ole Faleolo Tuilagi Māhoe Tui Fonoti Kekoa Nakamoto Kalākaua Ngata Pōmare",
    ),
    Origin(
        1.4,
        "Ji-woo Seo-yeon Ha-eun Minji Soo-jin Sakura Yui Aoi Hinata Kaori",
        "Min-jun Do-yun Ji-ho Hyun-woo Haruto Sōta Yūto Ren Kenji Takumi",
        "Kim Lee Park Choi Jung Kang Yoon Satō Suzuki Takahashi Tanaka Watanabe Itō Yamamoto Kobayashi Ōno",
    ),
    Origin(
        0.3,
        "小雨 美玲 雅婷 思涵 秀英",
        "小明 建國 宇航 志強 浩然",
        "王 李 張 劉 陳 楊 趙 歐陽",
    ),
    Origin(
        0.3,
        "さくら 結衣 陽菜 서연 지우 하은",
        "陽翔 悠真 翔太 민준 도윤 지호",
        "佐藤 鈴木 高橋 김 이 박 최",
    ),
)

#: Everyday short forms, for duplicate people and preferred names.
NICKNAMES = {
    "William": "Will", "James": "Jim", "Thomas": "Tom", "Andrew": "Drew", "Samuel": "Sam", "Charles": "Charlie",
    "Theodore": "Teddy", "Abigail": "Abby", "Samantha": "Sam", "Madison": "Maddie", "Josephine": "Josie",
    "Eleanor": "Ellie", "Guadalupe": "Lupe", "Isabel": "Isa", "Santiago": "Santi", "José": "Pepe", "Francisco": "Paco",
    "Alexis": "Alex", "Isaiah": "Zay", "Patrick": "Pat", "Bridget": "Bridie", "Nathan": "Nate", "Caroline": "Carrie",
}  # fmt: skip

_SPECIAL = str.maketrans({"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ß": "ss", "Þ": "Th", "þ": "th"})


def plain(name: str) -> str:
    """``name`` in the letters a-z as a user name would have it; empty when nothing of it can be spelt so."""
    split = unicodedata.normalize("NFKD", name.translate(_SPECIAL))
    return "".join(c for c in split.lower() if "a" <= c <= "z")


@dataclass(frozen=True, slots=True)
class Pools:
    """All names in three flat lists; ``female[o]`` etc. hold first index and count of origin ``o``."""

    given: list[str]
    family: list[str]
    female: NDArray[np.int64]
    male: NDArray[np.int64]
    surname: NDArray[np.int64]
    weights: NDArray[np.float64]


def _add(pool: list[str], words: str) -> tuple[int, int]:
    names = [w.replace("_", " ") for w in words.split()]
    pool.extend(names)
    return len(pool) - len(names), len(names)


def build_pools() -> Pools:
    """The word lists in a form that index arrays can be drawn from."""
    given: list[str] = []
    family: list[str] = []
    female = np.array([_add(given, o.female) for o in ORIGINS])
    male = np.array([_add(given, o.male) for o in ORIGINS])
    surname = np.array([_add(family, o.family) for o in ORIGINS])
    weights = np.array([o.weight for o in ORIGINS])
    return Pools(given, family, female, male, surname, weights / weights.sum())


POOLS = build_pools()


def draw(rng: np.random.Generator, bounds: NDArray[np.int64], origin: NDArray[np.int64]) -> NDArray[np.int64]:
    """One index per entry of ``origin`` out of the pool that ``bounds`` describes; earlier words are more frequent."""
    first, count = bounds[origin, 0], bounds[origin, 1]
    drawn: NDArray[np.int64] = first + (rng.random(len(origin)) ** 1.4 * count).astype(np.int64)
    return drawn
