"""Given names that one person may go by: everyday short forms, and spellings of one name in Latin letters.

Own lists, several origins. A name may stand in more than one line; names of one line are taken for the same.
"""

from __future__ import annotations

from functools import cache

_GROUPS = """
abigail abby abbie gail
abraham abe bram
adelaide addie
adrian ade
albert al bert bertie
alexander alex xander sasha alec lex al
alexandra alex sandra sasha lexi lexie alexa sandy
alexis alex lexi lexie
alfred alfie fred al
alice ali allie
alison allison allie ali
amanda mandy manda
andrew andy drew
angela angie
angelina angie lina
anthony tony ant
antonio tony tono
arthur art artie
ashley ash
augustus gus augie
aurora rory
barbara barb babs barbie
beatrice bea trixie
beatriz bea
benjamin ben benji benny
bernard bernie
bradley brad
bridget bridie biddy
caleb cal
calvin cal
cameron cam
caroline carrie caro carol lina
catherine cathy cate cat kate katie
charles charlie chuck chas
charlotte charlie lottie char
christian chris
christina chris tina chrissy christie
christine chris tina chrissy christie
christopher chris topher kit
clarence clay
claudia claudie
clifford cliff
constance connie
cornelius neil
cynthia cindy
daniel dan danny
danielle dani
david dave davey
deborah deb debbie
dennis denny
dominic dom nick
donald don donny
dorothy dot dottie
douglas doug
edmund ed eddie ned
eduardo eddie lalo
edward ed eddie ted teddy ned
edwin ed eddie
eleanor ellie nell nora ella
elijah eli
elizabeth liz lizzie beth betty eliza betsy libby ellie liza bess
emily em emmy millie
emma em emmy
emmanuel manny
enrique quique
esperanza pera
esteban steve
evelyn evie eve
ezekiel zeke
florence flo flossie
frances fran frankie fanny
francis frank frankie
francisco paco pancho frank cisco
franklin frank
frederick fred freddie rick
gabriel gabe
gabriela gaby gabi
gabrielle gabby gabi
genevieve gen evie
george georgie
gerald gerry jerry
gerardo jerry
gilbert gil bert
gregory greg
guadalupe lupe lupita
guillermo memo
gwendolyn gwen
hannah hanna
harold harry hal
harrison harry
hector tito
henry hank harry hal
howard howie
isaac ike zac
isabel isa izzy bella belle
isabella bella izzy isa belle
isaiah zay ike
jackson jack jax
jacob jake jacky
jacqueline jackie jacqui
james jim jimmy jamie
jane janie jenny
janet jan
jason jay jase
jasmine jas jazz jaz
javier javi
jeffrey jeff
jennifer jen jenny jenna
jeremiah jerry jeremy
jerome jerry
jessica jess jessie
jesus chuy
joanna jo joan
john johnny jack jon
jonathan jon johnny nathan
jordan jordy
jose pepe joe
joseph joe joey jo
josephine josie jo
joshua josh
juan juancho
julian jules
julia jules julie
julieta juli
justin jus
kathleen kathy kate katie
katherine kathy kate katie kat kit
kenneth ken kenny
kevin kev
kimberly kim kimmy
kristina kris tina krissy
lawrence larry lars
leonard leo len lenny
leonardo leo nardo
leslie les
lillian lily lil
lincoln linc
louis lou louie
louise lou
lucas luke
lucia lucy
lucille lucy
luis lucho
madeline maddie maddy
madison maddie maddy
magdalena magda lena
manuel manny manolo
marcus marc
margaret maggie meg peggy marge margie greta daisy
maria mary mia mari
marisol mari sol
martin marty
mary molly polly mae
matthew matt matty
maximilian max
maxwell max
megan meg
melissa mel missy lissa
micah mike
michael mike mikey mick micky
michelle shelly mickey
miguel mike migue
miranda randy mandy
monica mo
montgomery monty
nathan nate nat
nathaniel nate nat nathan
natalie nat
nicholas nick nicky nico cole
nicolas nick nico
nicole nikki nicky
noah noe
olivia liv livvy livia ollie
oliver ollie
oscar ozzie
owen owie
pamela pam
patricia pat patty trish tricia
patrick pat paddy rick
paul paulie
penelope penny
peter pete
philip phil pip
piper pip
rachel rach rae
rafael rafa
ramon moncho
raymond ray
rebecca becky becca
reginald reg reggie
richard rich rick ricky dick richie
robert rob bob bobby robbie bert
roberto beto rob
rocio chio
rodney rod
ronald ron ronnie
rosa rosie
rosemary rose rosie
russell russ
ruth ruthie
salvador chava sal
samantha sam sammy
samuel sam sammy
santiago santi chago diego
sarah sally sadie
sebastian seb bash sebas
sergio checo
sofia sofi
sophia sophie soph
spencer spence
stanley stan
stephanie steph stevie
stephen steve stevie
steven steve stevie
susan sue susie
suzanne sue suzy
sydney syd
tabitha tabby
teresa tere terry tess
terrence terry
theodore ted teddy theo
theresa terry tess tessa
thomas tom tommy
timothy tim timmy
tyler ty
tyrone ty
valentina vale val tina
valerie val
veronica vero ronnie
victor vic
victoria vicky tori vic
vincent vince vinny
violet vi
virginia ginny ginger
walter walt wally
wesley wes
william will bill billy liam willie
xavier xavi
yesenia yesi
zachary zach zack zac
agnieszka aga
alejandra ale alex
alejandro ale alex
concepcion concha conchita
consuelo chelo
dolores lola
fernando nando
francisca paca
graciela chela
gustavo tavo
ignacio nacho
jorge coque
lourdes lulu
mercedes meche
pedro perico
refugio cuca
rosario charo
socorro coco
aleksandr sasha alexandr aleksander alexander
anastasia nastya stasia
dmitri dima dmitry dmytro
ekaterina katya kate
katarzyna kasia
malgorzata gosia
mikhail misha mykhailo michael
nikolai kolya nicholas mykola
olena lena elena
sergei serhii sergey
stanislaw stas staszek
svetlana sveta
tatiana tanya tania
vladimir vova volodymyr
wojciech wojtek
yekaterina katya
zofia zosia sofia sophia
abdullah abdallah abdulla
abdulrahman abdurrahman abdelrahman abdalrahman
ahmed ahmad achmed ahmet
aisha ayesha aishah aysha
ali aly
amina aminah aamina
fatima fatma fatimah fatema faduma
hassan hasan
hussein husain hussain hossein hussien
ibrahim ebrahim ibraheem abraham
khadija khadijah hadija
khalid khaled
mariam maryam miriam maryan
mohamed mohammed muhammad mohammad mohamud muhammed mohamad mehmet
mustafa mustapha moustafa
omar umar omer
osman usman othman uthman
yusuf yousef youssef yousif yusef joseph
zainab zaynab zeinab zeynep
harpreet harry
gurpreet gary guri
krishna krish
siddharth sid
venkataramana venkat
vikram vik
jihoon jihun
minjun minjoon
hyunwoo hyunwu
seoyeon seoyun
xiaoming hsiaoming
zhiqiang chihchiang
xiaoyu hsiaoyu
meiling mailing
jianguo chienkuo
phuong fuong
thuy thui
catalina cata
daniela dani
camila cami
ximena jimena
hernan nan
joaquin quino
emiliano emi
maximiliano max
leilani lani
kaiulani lani
matthias mathias mattias matt
"""


@cache
def groups() -> dict[str, list[int]]:
    """Of each name the numbers of the lines that it stands in."""
    lines: dict[str, list[int]] = {}
    for number, line in enumerate(_GROUPS.strip().splitlines(), 1):
        for name in dict.fromkeys(line.split()):
            lines.setdefault(name, []).append(number)
    return lines
